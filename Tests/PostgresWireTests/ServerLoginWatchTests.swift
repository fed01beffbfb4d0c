// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PostgresWire

@Suite("What a server says at login")
struct ServerLoginWatchTests {
    private static func request(_ code: Int32, _ text: String = "") -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendMessage(kind: UInt8(ascii: "R")) {
            $0.appendInteger(code)
            $0 += Array(text.utf8)
        }
        return bytes
    }

    private static func error(_ text: String = "no") -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendErrorResponse(.fatal(.invalidPassword, text))
        return bytes
    }

    private static let scram = request(10, "SCRAM-SHA-256\0\0")
    private static func challenge(_ count: String) -> [UInt8] {
        request(11, "r=abc+def,s=AAAA,i=\(count)")
    }

    private static func look(
        _ watch: inout ServerLoginWatch, _ bytes: [UInt8]
    ) -> ServerLoginWatch.Verdict { bytes.withUnsafeBytes { watch.look(at: $0) } }

    private static func verdicts(_ reads: [[UInt8]]) -> [ServerLoginWatch.Verdict] {
        var watch = ServerLoginWatch()
        return reads.map { look(&watch, $0) }
    }

    private static func isRefused(_ verdict: ServerLoginWatch.Verdict?) -> Bool {
        if case .refused = verdict { true } else { false }
    }

    @Test("Ordinary logins")
    func ordinary() {
        let ok = Self.request(0)
        #expect(Self.verdicts([ok]) == [.harmless])
        #expect(Self.verdicts([Self.request(3), ok]) == [.harmless, .harmless])
        #expect(Self.verdicts([Self.request(5, "salt"), ok]) == [.harmless, .harmless])
        #expect(
            Self.verdicts([Self.scram, Self.challenge("4096"), Self.request(12, "v=x") + ok, ok])
                == [.harmless, .challenge(iterations: 4096), .harmless, .harmless])
        #expect(
            Self.verdicts([Self.request(7), Self.request(8, "x"), ok])
                == [.harmless, .harmless, .harmless])
    }

    @Test("What libpq gives up at")
    func givenUp() {
        for message in [
            Self.error(), Array("EFATAL: too old".utf8), Self.request(2), Self.request(4711),
            Array("HTTP/1.1 400 Bad Request".utf8),
        ] {
            #expect(Self.verdicts([message]) == [.harmless])
        }
        #expect(Self.verdicts([Self.scram, Self.error()]) == [.harmless, .harmless])
        #expect(Self.verdicts([Self.request(5, "salt"), Self.error()]) == [.harmless, .harmless])
    }

    @Test("A challenge in another protocol version")
    func version() {
        var offer: [UInt8] = []
        offer.appendNegotiateProtocolVersion(minor: 0, unrecognized: [])
        #expect(
            Self.verdicts([offer, Self.scram, Self.challenge("7")])
                == [.harmless, .harmless, .challenge(iterations: 7)])
        #expect(Self.isRefused(Self.verdicts([offer, offer]).last))
        #expect(Self.isRefused(Self.verdicts([Self.scram, offer]).last))
    }

    /// libpq has read the beginning together with the request, unseen.
    @Test("The rest of a challenge does not pass for a message")
    func begunUnseen() {
        for lowByte in UInt8.min...UInt8.max {
            // Whatever the nonce begins with, too.
            let nonce = String(UnicodeScalar(lowByte & 0x7F)) + "bcdefghij"
            var challenge = Self.request(11, "r=\(nonce),s=AAAA,i=2147483647")
            challenge[4] = lowByte
            // Not even a whole header: libpq knows what it is, we do not.
            for cut in 1...11 {
                var watch = ServerLoginWatch()
                #expect(Self.look(&watch, Self.scram) == .harmless)
                let verdict = Self.look(&watch, Array(challenge[cut...]))
                #expect(
                    verdict == .incomplete || Self.isRefused(verdict),
                    "\(lowByte) \(cut) \(verdict)")
            }
        }
    }

    @Test(
        "Counts",
        arguments: [("1", 1), ("2147483647", 2_147_483_647), ("9999999999", 9_999_999_999)])
    func counts(text: String, count: Int) {
        #expect(
            Self.verdicts([Self.scram, Self.challenge(text)]).last == .challenge(iterations: count))
        #expect(
            Self.verdicts([Self.scram, Self.challenge(text + ",x=y")]).last
                == .challenge(iterations: count))
    }

    @Test(
        "Challenges that libpq must not read",
        arguments: [
            "r=a,s=AAAA,i=", "r=a,s=AAAA,i=+1", "r=a,s=AAAA,i= 1", "r=a,s=AAAA,i=-1",
            "r=a,s=AAAA,i=6442450943000", "r=a,s=AAAA,i=1\0", "r=a,s=AAAA,i=0x10", "r=a,i=1,s=AAAA",
            "r=a,s=AAAA", "r=", "r=a,x=AAAA,i=1",
        ])
    func malformed(text: String) {
        #expect(Self.isRefused(Self.verdicts([Self.scram, Self.request(11, text)]).last))
    }

    @Test(
        "What is not SCRAM's is libpq's to read",
        arguments: ["", "r", "x=a,s=AAAA,i=1", "{\"status\":\"invalid_token\"}"])
    func otherMechanisms(text: String) {
        let reads = [Self.scram, Self.request(11, text)]
        #expect(Self.verdicts(reads) == [.harmless, .harmless])
        #expect(Self.isRefused(Self.verdicts(reads + [Self.challenge("1")]).last))
    }

    @Test("Requests out of order")
    func order() {
        let md5 = Self.request(5, "salt")
        let good = Self.challenge("1")
        for reads in [
            [Self.scram, Self.scram], [Self.scram, md5], [md5, md5], [md5, good],
            [Self.request(12)],
            [Self.request(7), good], [Self.request(8)], [Self.scram, Self.request(2)],
            [Self.scram, Array("N".utf8)],
        ] {
            #expect(Self.isRefused(Self.verdicts(reads).last), "\(reads)")
        }
        #expect(Self.isRefused(Self.verdicts([Array("R\0\0\0\u{3}".utf8)]).last))
        #expect(Self.isRefused(Self.verdicts([Array("R\u{7F}\0\0\u{3}".utf8)]).last))
    }

    @Test("A message is judged once all of it is there, held back or held")
    func splits() {
        for (message, verdict) in [
            (Self.challenge("77"), ServerLoginWatch.Verdict.challenge(iterations: 77)),
            (Self.error(), .harmless), (Self.request(5, "salt"), .harmless),
        ] {
            for cut in 0..<message.count {
                var waits = ServerLoginWatch()
                #expect(Self.look(&waits, Array(message[..<cut])) == .incomplete)
                #expect(Self.look(&waits, message) == verdict)
                var holds = ServerLoginWatch()
                message[..<cut].withUnsafeBytes { holds.hold($0) }
                #expect(Self.look(&holds, Array(message[cut...])) == verdict)
                #expect(Self.look(&holds, Self.request(0)) == .harmless)
            }
        }
    }
}

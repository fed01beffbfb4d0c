// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@testable import LeaseCore

/// What nearly all traffic is takes a shorter way: it may only be taken where the long one ends in the same.
@Suite struct RelayPlainTrafficTests {
    private static func query(_ text: String) -> [UInt8] { message { $0.appendQuery(text) } }

    private static func batch(_ statement: String, describes: Bool = true) -> [UInt8] {
        message {
            $0.appendBind(statement: statement)
            if describes { $0.appendDescribe(portal: "") }
            $0.appendExecute()
            $0.appendSync()
        }
    }

    private static let requests: [[UInt8]] = [
        query("SELECT 1 FROM one_of_the_tables"), query("SELECT 1 FROM one_of_the_tables"),
        query("BEGIN"), query("COMMIT"), query("SET search_path = x"), query("DISCARD ALL"),
        query("PREPARE p AS SELECT 1"), query("COPY t FROM STDIN"), query("RESET ALL"),
        message { $0.appendParse(name: "", query: "SELECT $1", parameterTypes: []) } + batch(""),
        message { $0.appendParse(name: "", query: "SET x = 1", parameterTypes: []) } + batch(""),
        message { $0.appendParse(name: "s", query: "SELECT $1", parameterTypes: []) } + batch("s"),
        batch("s"), batch("s", describes: false), batch(""), message { $0.appendSync() },
        message { $0.appendDescribe(statement: "s") } + message { $0.appendSync() },
        message { $0.appendBind(statement: "s") } + message { $0.appendExecute() }
            + message { $0.appendFlush() },
        message { $0.appendCloseStatement(name: "s") } + message { $0.appendSync() },
        message { $0.appendCopyData([1, 2, 3]) }, message { $0.appendCopyDone() },
    ]

    private static func said(_ kind: Unicode.Scalar, _ body: [UInt8] = []) -> [UInt8] {
        message { $0.appendMessage(kind: UInt8(ascii: kind)) { $0 += body } }
    }

    private static func tag(_ text: String) -> [UInt8] { said("C", Array(text.utf8) + [0]) }

    private static let error = said("E", Array("SERROR\0VERROR\0C42601\0Mwrong\0\0".utf8))

    private static let sayings: [[UInt8]] = [
        said("D", [0, 0]), said("T", [0, 0]), tag("SELECT 1"), tag("BEGIN"), tag("COMMIT"),
        tag("COMMENT"), tag("SET"), tag("DISCARD ALL"), tag("UPDATE 1"), said("Z", [0x49]),
        said("Z", [0x54]), said("Z", [0x45]), said("Z", [0x49]), said("1"), said("2"), said("3"),
        said("n"), said("t", [0, 0]), said("I"), said("s"), error, said("G", [0, 0, 0]),
        said("S", Array("x\0y\0".utf8)), said("N", Array("SNOTICE\0VNOTICE\0Mhello\0\0".utf8)),
        said("A", [0, 0, 0, 1] + Array("c\0p\0".utf8)), said("Z", [0x49, 0x49]), said("Z"),
    ]

    /// What a server that has nothing else to say answers.
    private static func plainAnswer(to entry: Outstanding, _ random: inout SeededGenerator)
        -> [UInt8]
    {
        let status: [UInt8] = [random.next() % 3 == 0 ? 0x54 : 0x49]
        let tag = tag(["SELECT 1", "UPDATE 2", "BEGIN", "COMMIT"][Int(random.next() % 4)])
        return switch entry.kind {
        case .parse: said("1")
        case .bind: said("2")
        case .close: said("3")
        case .describe: random.next() % 2 == 0 ? said("T", [0, 0]) : said("n")
        case .execute: said("D", [0, 0]) + tag
        case .sync: said("Z", status)
        case .query, .functionCall:
            said("T", [0, 0]) + said("D", [0, 0]) + tag + said("Z", status)
        }
    }

    private static func state(_ relay: RelayFixture) -> [String] {
        [
            "\(relay.server.outstanding.all)", "\(relay.server.status)", "\(relay.server.taint)",
            "\(relay.server.residue)", "\(relay.server.copy)", "\(relay.server.passing.bytesLeft)",
            "\(relay.server.isSkippingToSync) \(relay.server.isBatchOpen)",
            "\(relay.server.isSuspect) \(relay.server.isReadyAgain) \(relay.server.isEnding)",
            "\(relay.server.isMidMessage) \(relay.server.hasToldItsEnd)",
            "\(relay.server.answeredWithError) \(relay.server.answeredByBroker)",
            "\(relay.server.ignoredSyncs) \(relay.server.isAnsweredByPassing)",
            "\(relay.server.undo.count) \(relay.server.resets.count)",
            "\(relay.server.pendingResets.count) \(relay.server.batch) \(relay.server.tally)",
            "\(relay.server.hasUnnamed) \(relay.server.hasDiscarded) \(relay.server.boundScope)",
            "\(relay.server.prepared.count) \(relay.client.statements.count)",
            "\(relay.client.passing) \(relay.client.isSkippingToSync) \(relay.client.unnamed)",
        ]
    }

    @Test(arguments: [RelayMode.Pooling.transaction, .statement, .session])
    func aPlainAnswerIsWhatTheLongWayMakesOfIt(_ pooling: RelayMode.Pooling) {
        var plain = 0
        for seed in 0..<3_000 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            var short = RelayFixture(pooling)
            var long = RelayFixture(pooling)
            for round in 0..<4 {
                for _ in 0...random.next() % 2 {
                    let request = Self.requests[Int(random.next() % UInt64(Self.requests.count))]
                    short.send(request)
                    long.send(request)
                }
                var answer: [UInt8] = []
                let owed = short.server.outstanding.all
                for entry in owed.prefix(random.next() % 4 == 0 ? 1 : owed.count) {
                    answer += Self.plainAnswer(to: entry, &random)
                }
                if random.next() % 4 == 0 {
                    answer += Self.sayings[Int(random.next() % UInt64(Self.sayings.count))]
                }
                if random.next() % 8 == 0 { answer.removeLast(min(answer.count, 3)) }
                let before = Self.state(short)
                let isNew = short.carryIsEmpty
                let taken = answer.withUnsafeBytes {
                    short.server.takePlainAnswer(
                        $0, mayStayOpen: pooling != .statement, statements: &short.statements)
                }
                if taken.queries == 0 || !isNew {
                    #expect(taken.queries > 0 || before == Self.state(short), "\(seed) \(round)")
                    break
                }
                plain += 1
                let (bytes, step) = long.answerBytes(answer)
                #expect(bytes == answer, "\(seed) \(round)")
                #expect(step.consumed == answer.count && !step.hasNews, "\(seed) \(round)")
                #expect(step.queries == taken.queries, "\(seed) \(round)")
                #expect(step.transactions == taken.transactions, "\(seed) \(round)")
                #expect(Self.state(short) == Self.state(long), "\(seed) \(round)")
            }
        }
        #expect(plain > 300)
    }

    /// `relayPlainQuery` takes it for one of which nothing is to be noted.
    @Test(arguments: ["BEGIN", "COMMIT;", "end", "SELECT 1 FROM one_of_the_tables"])
    func ofABoundaryOfATransactionNothingIsNoted(_ text: String) {
        var relay = RelayFixture()
        let before = Self.state(relay).dropFirst()
        let sent = relay.send(Self.query(text))
        #expect(sent.toServer == Self.query(text) && sent.isMore)
        #expect(relay.server.outstanding.all == [Outstanding(.query, .client)])
        #expect(
            Self.state(relay).dropFirst().filter { !$0.contains("Tally") }
                == before.filter { !$0.contains("Tally") })
    }

    @Test(arguments: [RelayMode.Pooling.transaction, .statement])
    func theEndOfABatchIsTheSameAtOnceAndOneByOne(_ pooling: RelayMode.Pooling) {
        for seed in 0..<2_000 as Range<UInt64> {
            var random = SeededGenerator(seed: seed)
            var whole = RelayFixture(pooling)
            var pieces = RelayFixture(pooling)
            for round in 0..<4 {
                let request = Self.requests[Int(random.next() % UInt64(Self.requests.count))]
                // A Close of a name that nobody needs is answered by the broker, and at the end of what came with it.
                if request.first == UInt8(ascii: "C") { continue }
                let atOnce = whole.send(request)
                var sent: [UInt8] = []
                var rest = request[...]
                while rest.count >= MessageHeader.size {
                    let header = rest.withUnsafeBytes { MessageHeader($0, at: 0) }
                    sent +=
                        pieces.send(Array(rest.prefix(MessageHeader.size + header.bodyLength)))
                        .toServer
                    rest = rest.dropFirst(MessageHeader.size + header.bodyLength)
                }
                #expect(atOnce.toServer == sent, "\(seed) \(round)")
                #expect(Self.state(whole) == Self.state(pieces), "\(seed) \(round)")
                guard atOnce.isMore, random.next() % 2 == 0 else { continue }
                var answer: [UInt8] = []
                for entry in whole.server.outstanding.all {
                    answer += Self.plainAnswer(to: entry, &random)
                }
                _ = whole.answerBytes(answer)
                _ = pieces.answerBytes(answer)
            }
        }
    }
}

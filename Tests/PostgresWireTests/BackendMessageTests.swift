// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@Suite("Messages that a server sends")
struct BackendMessageTests {
    @Test("An error has its fields in PostgreSQL's order")
    func errorResponse() throws {
        let error = PgError.fatal(
            .tooManyConnections, "no", detail: "ten are held", hint: "return one")
        var positioned = error
        positioned.position = 12
        var body = try written("E") { $0.appendErrorResponse(positioned) }
        for expected in [
            "SFATAL", "VFATAL", "C53300", "Mno", "Dten are held", "Hreturn one", "P12", "",
        ] {
            #expect(try body.string() == expected)
        }
        #expect(body.isAtEnd)
    }

    @Test("Fields that are nil are not sent")
    func notice() throws {
        var body = try written("N") { $0.appendNoticeResponse(.notice("waiting")) }
        for expected in ["SNOTICE", "VNOTICE", "C00000", "Mwaiting", ""] {
            #expect(try body.string() == expected)
        }
        #expect(body.isAtEnd)
    }

    @Test("A NUL in a text does not end its field")
    func embeddedNul() throws {
        var body = try written("S") { $0.appendParameterStatus(name: "a\0b", value: "c\0") }
        #expect(try body.string() == "ab")
        #expect(try body.string() == "c")
        #expect(body.isAtEnd)
    }

    @Test(
        "An error is read back as it was written",
        arguments: [
            PgError(sqlState: .internalError, message: ""),
            PgError(
                severity: .panic, sqlState: SQLState(rawValue: "ZZ999"), message: "é", detail: "d",
                hint: "h", position: 3),
            .notice("n", hint: "h"),
        ])
    func errorRoundTrip(error: PgError) throws {
        var bytes: [UInt8] = []
        bytes.appendErrorResponse(error)
        let body = Array(bytes.dropFirst(5))
        let fields = try #require(body.withUnsafeBytes { ErrorFields(body: $0) })
        #expect(fields.pgError == error)
        for length in 0..<body.count {
            #expect(body.prefix(length).withUnsafeBytes { ErrorFields(body: $0) } == nil)
        }
    }

    @Test("V counts where S is translated; unknown fields are passed over")
    func localizedSeverity() throws {
        let body = "SFATALE\0VFATAL\0C57P03\0Mx\0Fpostmaster.c\0L2\0Rf\0\0"
        let fields = try #require(withBytes(of: body) { ErrorFields(body: $0) })
        #expect(fields.severity == .fatal)
        #expect(fields.sqlState == .cannotConnectNow)
        let old = try #require(withBytes(of: "SFATAL\0C28P01\0Mx\0\0") { ErrorFields(body: $0) })
        #expect(old.severity == .fatal)
        #expect(withBytes(of: "SFATAL\0Mno state\0\0") { ErrorFields(body: $0) } == nil)
    }

    @Test("Authentication requests")
    func authentication() throws {
        var ok = try written("R") { $0.appendAuthenticationOk() }
        #expect(try ok.int32() == 0)
        #expect(ok.isAtEnd)

        var clear = try written("R") { $0.appendAuthenticationCleartextPassword() }
        #expect(try clear.int32() == 3)
        #expect(clear.isAtEnd)

        var md5 = try written("R") { $0.appendAuthenticationMD5Password(salt: 0x0102_0304) }
        #expect(try md5.int32() == 5)
        #expect(Array(md5.rest) == [1, 2, 3, 4])

        var sasl = try written("R") { $0.appendAuthenticationSASL(mechanisms: ["A", "B-1"]) }
        #expect(try sasl.int32() == 10)
        for expected in ["A", "B-1", ""] { #expect(try sasl.string() == expected) }
        #expect(sasl.isAtEnd)

        var next = try written("R") { $0.appendAuthenticationSASLContinue("r=x") }
        #expect(try next.int32() == 11)
        #expect(Array(next.rest) == Array("r=x".utf8))

        var final = try written("R") { $0.appendAuthenticationSASLFinal("v=x") }
        #expect(try final.int32() == 12)
        #expect(Array(final.rest) == Array("v=x".utf8))
    }

    @Test("Key, parameter and version")
    func session() throws {
        var key = try written("K") { $0.appendBackendKeyData(processID: -2, secretKey: .min) }
        #expect(try key.int32() == -2)
        #expect(try key.int32() == Int(Int32.min))
        #expect(key.isAtEnd)

        var version = try written("v") {
            $0.appendNegotiateProtocolVersion(minor: 0, unrecognized: ["_pq_.a", "_pq_.b"])
        }
        #expect(try version.int32() == 196_608)
        #expect(try version.int32() == 2)
        #expect(try version.string() == "_pq_.a")
        #expect(try version.string() == "_pq_.b")
        #expect(version.isAtEnd)
    }

    @Test(
        "ReadyForQuery is six bytes",
        arguments: [
            (TransactionStatus.idle, "I"), (.inTransaction, "T"), (.failed, "E"),
        ])
    func readyForQuery(status: TransactionStatus, letter: String) throws {
        var bytes: [UInt8] = []
        bytes.appendReadyForQuery(status)
        #expect(bytes == [UInt8(ascii: "Z"), 0, 0, 0, 5] + Array(letter.utf8))
        #expect(bytes.last.flatMap(TransactionStatus.init(rawValue:)) == status)
    }

    @Test("A row and its description")
    func rows() throws {
        var description = try written("T") {
            $0.appendRowDescription([
                ColumnDescription(name: "id", typeOID: 23, typeSize: 4, format: 1),
                ColumnDescription(name: "name"),
            ])
        }
        #expect(try description.int16() == 2)
        for (name, oid, size, format) in [("id", 23, 4, 1), ("name", 25, -1, 0)] {
            #expect(try description.string() == name)
            #expect(try description.int32() == 0)
            #expect(try description.int16() == 0)
            #expect(try description.int32() == oid)
            #expect(try description.int16() == size)
            #expect(try description.int32() == -1)
            #expect(try description.int16() == format)
        }
        #expect(description.isAtEnd)

        for write: (inout [UInt8]) -> Void in [
            { $0.appendDataRow(texts: ["é", nil, ""]) },
            { $0.appendDataRow([Array("é".utf8), nil, []]) },
        ] {
            var row = try written("D", write)
            #expect(try row.int16() == 3)
            #expect(try row.value() == "é")
            #expect(try row.value() == nil)
            #expect(try row.value() == "")
            #expect(row.isAtEnd)
        }
    }

    @Test("Tag and parameter types")
    func tagAndTypes() throws {
        var tag = try written("C") { $0.appendCommandComplete("SELECT 1") }
        #expect(try tag.string() == "SELECT 1")
        #expect(tag.isAtEnd)

        var types = try written("t") { $0.appendParameterDescription([23, .max]) }
        #expect(try types.int16() == 2)
        #expect(try types.unsigned(4) == 23)
        #expect(try types.unsigned(4) == UInt64(UInt32.max))
        #expect(types.isAtEnd)
    }

    @Test("Messages without a body")
    func empty() throws {
        #expect(try written("1") { $0.appendParseComplete() }.isAtEnd)
        #expect(try written("2") { $0.appendBindComplete() }.isAtEnd)
        #expect(try written("3") { $0.appendCloseComplete() }.isAtEnd)
        #expect(try written("n") { $0.appendNoData() }.isAtEnd)
        #expect(try written("I") { $0.appendEmptyQueryResponse() }.isAtEnd)
        #expect(try written("s") { $0.appendPortalSuspended() }.isAtEnd)
    }

    @Test("A long message has all four bytes of its length right")
    func longLength() throws {
        let length = 0x0102_0304
        var bytes: [UInt8] = []
        bytes.appendMessage(kind: UInt8(ascii: "d")) {
            $0.append(contentsOf: repeatElement(7, count: length - 4))
        }
        #expect(Array(bytes[1..<5]) == [1, 2, 3, 4])
        let header = bytes.withUnsafeBytes { MessageHeader($0, at: 0) }
        #expect(header == MessageHeader(kind: UInt8(ascii: "d"), bodyLength: length - 4))
    }

    @Test("A parameter is read back; a cut one is not")
    func parameterStatus() {
        var bytes: [UInt8] = []
        bytes.appendParameterStatus(name: "TimeZone", value: "")
        let body = Array(bytes.dropFirst(5))
        let parameter = body.withUnsafeBytes { ParameterStatusBody(body: $0) }
        #expect(parameter?.name == "TimeZone")
        #expect(parameter?.value == "")
        for length in 0..<body.count {
            #expect(body.prefix(length).withUnsafeBytes { ParameterStatusBody(body: $0) } == nil)
        }
    }

    @Test("A string ends at its NUL and nowhere else")
    func cStrings() {
        let bytes: [UInt8] = [97, 98, 0, 0, 99]
        bytes.withUnsafeBytes {
            #expect(cString(in: $0, from: 0) == 0..<2)
            #expect(cString(in: $0, from: 2) == 2..<2)
            #expect(cString(in: $0, from: 3) == 3..<3)
            #expect(cString(in: $0, from: 4) == nil)
            #expect(cString(in: $0, from: 5) == nil)
            #expect(cString(in: $0, from: -1) == nil)
        }
    }
}

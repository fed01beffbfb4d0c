// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@Suite("Messages that a client sends")
struct FrontendMessageTests {
    @Test("Simple query and empty messages")
    func simple() throws {
        var query = try written("Q") { $0.appendQuery("SELECT 'é'") }
        #expect(try query.string() == "SELECT 'é'")
        #expect(query.isAtEnd)
        #expect(try written("S") { $0.appendSync() }.isAtEnd)
        #expect(try written("H") { $0.appendFlush() }.isAtEnd)
        #expect(try written("X") { $0.appendTerminate() }.isAtEnd)
        #expect(try written("c") { $0.appendCopyDone() }.isAtEnd)
        #expect(Array(try written("d") { $0.appendCopyData([0, 1]) }.rest) == [0, 1])
        var fail = try written("f") { $0.appendCopyFail("why") }
        #expect(try fail.string() == "why")
        var password = try written("p") { $0.appendPasswordMessage("secret") }
        #expect(try password.string() == "secret")
        #expect(password.isAtEnd)
    }

    @Test("Parse, from text and from bytes")
    func parse() throws {
        for write: (inout [UInt8]) -> Void in [
            { $0.appendParse(name: "s1", query: "SELECT $1", parameterTypes: [23]) },
            {
                $0.appendParse(
                    name: Array("s1".utf8), query: "SELECT $1".utf8, parameterTypes: [23])
            },
        ] {
            var body = try written("P", write)
            #expect(try body.string() == "s1")
            #expect(try body.string() == "SELECT $1")
            #expect(try body.int16() == 1)
            #expect(try body.int32() == 23)
            #expect(body.isAtEnd)
        }
    }

    @Test("Bind, Describe, Execute, Close")
    func extended() throws {
        var bind = try written("B") {
            $0.appendBind(portal: "p", statement: "s", texts: ["1", nil], resultFormats: [1])
        }
        #expect(try bind.string() == "p")
        #expect(try bind.string() == "s")
        #expect(try bind.int16() == 0)
        #expect(try bind.int16() == 2)
        #expect(try bind.value() == "1")
        #expect(try bind.value() == nil)
        #expect(try bind.int16() == 1)
        #expect(try bind.int16() == 1)
        #expect(bind.isAtEnd)

        var execute = try written("E") { $0.appendExecute(portal: "p", maximumRows: 5) }
        #expect(try execute.string() == "p")
        #expect(try execute.int32() == 5)
        #expect(execute.isAtEnd)

        let targets: [(Character, String, (inout [UInt8]) -> Void)] = [
            ("D", "Ss", { $0.appendDescribe(statement: "s") }),
            ("D", "Pp", { $0.appendDescribe(portal: "p") }),
            ("C", "Ss", { $0.appendCloseStatement(name: "s") }),
            ("C", "Ss", { $0.appendCloseStatement(name: Array("s".utf8)) }),
            ("C", "Pp", { $0.appendClosePortal(name: "p") }),
        ]
        for (kind, expected, write) in targets {
            var body = try written(kind, write)
            #expect(try body.string() == expected)
            #expect(body.isAtEnd)
        }
    }

    @Test("SASLInitialResponse is read back, and refused when its lengths do not fit")
    func saslInitialResponse() throws {
        var bytes: [UInt8] = []
        bytes.appendSASLInitialResponse(mechanism: "SCRAM-SHA-256", "n,,n=,r=x")
        var body = Array(bytes.dropFirst(5))
        let response = try #require(body.withUnsafeBytes { SASLInitialResponse(body: $0) })
        #expect(response.mechanism == "SCRAM-SHA-256")
        #expect(response.data == Array("n,,n=,r=x".utf8))
        for length in 0..<body.count {
            #expect(body.prefix(length).withUnsafeBytes { SASLInitialResponse(body: $0) } == nil)
        }
        body.append(0)
        #expect(body.withUnsafeBytes { SASLInitialResponse(body: $0) } == nil)

        let none: [UInt8] = [65, 0, 255, 255, 255, 255]
        let empty = try #require(none.withUnsafeBytes { SASLInitialResponse(body: $0) })
        #expect(empty.data == nil)
        let negative: [UInt8] = [65, 0, 255, 255, 255, 254]
        #expect(negative.withUnsafeBytes { SASLInitialResponse(body: $0) } == nil)

        let data = try written("p") { $0.appendSASLResponse("c=biws") }
        #expect(Array(data.rest) == Array("c=biws".utf8))
    }

    @Test("Identifiers and literals")
    func quoting() {
        #expect(quotedIdentifier("a\"b") == "\"a\"\"b\"")
        #expect(quotedIdentifier("") == "\"\"")
        #expect(quotedLiteral("it's") == "'it''s'")
        #expect(quotedLiteral("a\\'b") == "E'a\\\\''b'")
        #expect(quotedLiteral("é\0") == "'é'")
        // A combining mark makes one Character of the quote and itself.
        #expect(quotedLiteral("'\u{301}") == "'''\u{301}'")
        #expect(quotedIdentifier("\"\u{301}") == "\"\"\"\u{301}\"")
    }
}

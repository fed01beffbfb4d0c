// SPDX-License-Identifier: Apache-2.0

import StatusHTTP
import Testing

/// What the writer makes of nesting and of odd texts.
@Suite struct JSONTextTests {
    private func text(_ body: (inout JSONText) -> Void) -> String {
        var json = JSONText()
        body(&json)
        return String(decoding: json.bytes, as: UTF8.self)
    }

    @Test func commasComeByThemselves() {
        let written = text { json in
            json.object {
                $0.key("a")
                $0.integer(1)
                $0.key("b")
                $0.array { json in
                    json.null()
                    json.object { _ in }
                    json.array { _ in }
                    json.boolean(true)
                }
                $0.key("c")
                $0.number(0.5)
            }
        }
        #expect(written == #"{"a":1,"b":[null,{},[],true],"c":0.5}"#)
    }

    @Test(arguments: [
        ("", #""""#), ("plain", #""plain""#), ("q\"u\\o", #""q\"u\\o""#),
        ("a\nb\u{0}\u{7F}", #""a\u000ab\u0000\u007f""#), ("ä\u{202E}😀", "\"ä\u{202E}😀\""),
    ])
    func strings(_ given: String, _ expected: String) {
        #expect(text { $0.string(given) } == expected)
        #expect(text { $0.string(bytes: Array(given.utf8)[...]) } == expected)
    }

    @Test func bytesThatAreNoTextAreReplaced() {
        #expect(text { $0.string(bytes: [0x61, 0xFF, 0x62][...]) } == "\"a\u{FFFD}b\"")
    }

    @Test func numbersThatJSONDoesNotHaveAreNull() {
        #expect(text { $0.number(.infinity) } == "null")
        #expect(text { $0.number(.nan) } == "null")
    }
}

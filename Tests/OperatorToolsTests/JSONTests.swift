// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import OperatorTools

@Suite("JSON")
struct JSONTests {
    private func parsed(_ value: JSONValue) throws -> Any {
        try JSONSerialization.jsonObject(
            with: Data(value.serialised.utf8), options: .fragmentsAllowed)
    }

    @Test("Every text comes back as it was")
    func texts() throws {
        let controls = String(String.UnicodeScalarView((0...0xA0).map { Unicode.Scalar($0)! }))
        for text in Fixture.hostileNames + [controls, "\u{2028}\u{2029}\u{10FFFF}", "</script>"] {
            #expect(try parsed(.text(text)) as? String == text)
            #expect(!JSONValue.text(text).serialised.contains("\n"))
        }
    }

    @Test("A number is one of JSON, or a text")
    func numbers() {
        for good in ["0", "-1", "123456789012345678901234567890", "1.000042", "-0.5"] {
            #expect(JSONValue.number(good).serialised == good)
        }
        for bad in ["", "-", "01", "--1", "1.", ".5", "1e5", "NaN", "1 2", "１", "1.2.3"] {
            #expect(JSONValue.number(bad).serialised == "\"\(bad)\"")
        }
    }

    @Test("A reading has its tables with the columns' names, also those that the broker lacks")
    func reading() throws {
        var reading = Fixture.reading(leases: 2)
        reading.tables[.locks] = nil
        let object = try #require(try parsed(reading.json) as? [String: Any])
        #expect(
            Set(object.keys) == [
                "version", "time", "state", "pools", "groups", "shares", "leases", "waiters",
                "locks",
                "stats",
            ])
        #expect((object["time"] as? Double) == 1_700_000_000.000042)
        #expect((object["state"] as? [String: String])?["active"] == "yes")
        #expect((object["locks"] as? [Any])?.isEmpty == true)
        let leases = try #require(object["leases"] as? [[String: Any]])
        #expect(leases.count == 2)
        #expect(leases[0]["lease_id"] as? Int == 1)
        #expect(leases[0]["server_pid"] as? String == "9000")
        #expect(leases[0]["idle_us"] is NSNull)
    }
}

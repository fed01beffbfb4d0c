// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Workers

@Suite("The tables")
struct SchemaTests {
    @Test("Each table is made after those that it refers to")
    func order() throws {
        var seen: [String] = []
        for table in TableDefinition.all {
            for part in table.definition.split(separator: "REFERENCES ").dropFirst() {
                let target = String(part.prefix { $0 != " " })
                #expect(seen.contains(target), "\(table.name) refers to \(target)")
            }
            seen.append(table.name)
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// A table's schema and name, as they are in the catalog: no quotes, no folding.
struct TableName: Hashable, Sendable, CustomStringConvertible {
    var schema: String
    var name: String

    init(schema: String, name: String) {
        self.schema = schema
        self.name = name
    }

    /// As the tables of the config database write it: `orders`, in `defaultSchema`, or
    /// `sales.orders`.
    init(_ text: String, defaultSchema: String = "public") {
        if let dot = text.firstIndex(of: "."), dot != text.startIndex,
            text.index(after: dot) != text.endIndex
        {
            schema = String(text[..<dot])
            name = String(text[text.index(after: dot)...])
        } else {
            schema = defaultSchema
            name = text
        }
    }

    var quoted: String { "\(quotedName(schema)).\(quotedName(name))" }
    var description: String { "\(schema).\(name)" }
}

/// A name between double quotes.
func quotedName(_ name: String) -> String { quotedIdentifier(name) }

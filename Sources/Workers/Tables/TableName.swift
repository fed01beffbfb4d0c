import LeaseClient

/// A table as the queue names it: `orders`, or `sales.orders`.
struct TableName: Equatable, Sendable, CustomStringConvertible {
    var schema: String
    var name: String

    init(schema: String, name: String) {
        self.schema = schema
        self.name = name
    }

    /// Without a schema in the text it is `defaultSchema`. Both parts are as they are in the
    /// catalog: no quotes, no folding.
    init(_ text: String, defaultSchema: String = "public") {
        if let dot = text.firstIndex(of: "."), dot != text.startIndex {
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

/// A name between double quotes as far as it needs them.
func quotedName(_ name: String) -> String {
    let sql: SQL = "\(identifier: name)"
    return sql.text
}

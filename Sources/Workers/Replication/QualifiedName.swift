/// A table's schema and name, neither of them quoted.
struct QualifiedName: Hashable, Sendable, CustomStringConvertible {
    var schema: String
    var name: String

    init(schema: String, name: String) {
        self.schema = schema
        self.name = name
    }

    /// `orders` in the default schema, or `sales.orders`.
    init(_ text: String, defaultSchema: String) {
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

    var description: String { "\(schema).\(name)" }
}

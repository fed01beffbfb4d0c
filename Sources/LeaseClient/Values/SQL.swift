// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// A statement and its values.
///
/// What is interpolated goes along as a parameter, never as text, so nothing can be injected:
///
///     try connection.query("SELECT name FROM jobs WHERE id = \(id) AND state = ANY(\(states))")
///     try connection.query("SELECT name FROM jobs WHERE id = $1", [id])
///     try connection.query("SELECT max(\(identifier: column)) FROM \(identifier: table)")
///
/// A text that is only known at run time takes `SQL(text, values)`: write no value into it. A literal
/// in `SQL("… \(value)")` is a statement like those above: its value is bound. What must stand in the
/// text itself says so, `\(raw: sql)`.
public struct SQL: Sendable, ExpressibleByStringInterpolation {
    /// With `$1`, `$2` … where values belong.
    public var text: String
    /// Nil is NULL.
    public var parameters: [(any PostgresEncodable)?]

    public init(_ text: String, _ parameters: [(any PostgresEncodable)?] = []) {
        self.text = text
        self.parameters = parameters
    }

    public init(stringLiteral text: String) { self.init(text) }

    public init(stringInterpolation: StringInterpolation) {
        self.init(stringInterpolation.text, stringInterpolation.parameters)
    }

    /// What a string literal of type ``SQL`` is built with.
    public struct StringInterpolation: StringInterpolationProtocol, Sendable {
        var text = ""
        var parameters: [(any PostgresEncodable)?] = []

        public init(literalCapacity: Int, interpolationCount: Int) {
            text.reserveCapacity(literalCapacity + 3 * interpolationCount)
        }

        public mutating func appendLiteral(_ literal: String) { text += literal }

        /// A value, as the next parameter.
        public mutating func appendInterpolation(_ value: (some PostgresEncodable)?) {
            parameters.append(value)
            text += "$\(parameters.count)"
        }

        /// A name, between double quotes as far as it needs them to mean itself.
        public mutating func appendInterpolation(identifier name: String) {
            text += quotedIdentifier(name)
        }

        /// Text that is SQL already. It is not looked at: nothing of it may come from a user.
        public mutating func appendInterpolation(raw sql: String) { text += sql }
    }

    /// With the values of an explicit list. A statement has its values from one place.
    func with(_ more: [(any PostgresEncodable)?]) -> SQL {
        if more.isEmpty { return self }
        precondition(
            parameters.isEmpty, "values are either interpolated or given as a list, not both")
        return SQL(text, more)
    }
}

// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Why a text is not a value of its setting. Never quotes what may be a secret.
package struct SettingValueError: Error, Equatable {
    /// Follows "name: ".
    package var reason: String
    /// What to do instead, if there is more to say.
    package var advice: String?

    package init(_ reason: String, advice: String? = nil) {
        self.reason = reason
        self.advice = advice
    }
}

/// What may be written for a setting; for help and documentation.
package enum SettingKind: Equatable, Sendable {
    case boolean
    case integer(ClosedRange<Int>)
    /// A whole number whose 0 means "no limit".
    case limit(ClosedRange<Int>)
    case number(ClosedRange<Double>)
    /// Seconds, or a number with a unit; with `zeroIsOff`, 0 switches it off.
    case duration(zeroIsOff: Bool)
    /// Milliseconds where a bare number is given.
    case milliseconds
    case choice([String])
    case octalMode
    case text
    case path
    case list
}

/// How values of one type are read from the text of a file and written back.
///
/// Reading what was written gives the same value: the reload diff and SHOW CONFIG rest on it.
struct ValueSyntax<Value: Sendable>: Sendable {
    let kind: SettingKind
    let parse: @Sendable (String) throws(SettingValueError) -> Value
    let render: @Sendable (Value) -> String
}

extension ValueSyntax where Value == Bool {
    static var boolean: Self {
        Self(kind: .boolean, parse: SettingText.boolean, render: { $0 ? "1" : "0" })
    }
}

extension ValueSyntax where Value == Int {
    static func integer(_ range: ClosedRange<Int>) -> Self {
        Self(
            kind: .integer(range),
            parse: { text throws(SettingValueError) in try SettingText.integer(text, in: range) },
            render: { "\($0)" })
    }

    static var octalMode: Self {
        Self(
            kind: .octalMode,
            parse: SettingText.octalMode,
            render: { "0" + String($0, radix: 8) })
    }
}

extension ValueSyntax where Value == Int? {
    static func limit(upTo maximum: Int) -> Self {
        Self(
            kind: .limit(0...maximum),
            parse: { text throws(SettingValueError) in
                let value = try SettingText.integer(text, in: 0...maximum)
                return value == 0 ? nil : value
            },
            render: { "\($0 ?? 0)" })
    }
}

extension ValueSyntax where Value == Double {
    static func number(_ range: ClosedRange<Double>) -> Self {
        Self(
            kind: .number(range),
            parse: { text throws(SettingValueError) in
                guard let value = Double(text), range.contains(value) else {
                    throw SettingValueError(
                        "\(quoted(text)) is not a number from \(range.lowerBound) "
                            + "to \(range.upperBound)")
                }
                return value
            },
            render: { "\($0)" })
    }
}

extension ValueSyntax where Value == Duration {
    static var duration: Self {
        Self(
            kind: .duration(zeroIsOff: false),
            parse: { text throws(SettingValueError) in try DurationText.parse(text) },
            render: { DurationText.render($0) })
    }

    static func duration(atLeast minimum: Duration, zeroIs other: Duration? = nil) -> Self {
        Self(
            kind: .duration(zeroIsOff: false),
            parse: { text throws(SettingValueError) in
                let value = try DurationText.parse(text)
                if value == .zero, let other { return other }
                guard value >= minimum else {
                    throw SettingValueError(
                        "\(quoted(text)) is too short: at least "
                            + "\(DurationText.render(minimum)) s")
                }
                return value
            },
            render: { DurationText.render($0) })
    }
}

extension ValueSyntax where Value == Duration? {
    static func optionalDuration(atLeast minimum: Duration) -> Self {
        let syntax = ValueSyntax<Duration>.duration(atLeast: minimum, zeroIs: .zero)
        return Self(
            kind: .duration(zeroIsOff: true),
            parse: { text throws(SettingValueError) in
                let value = try syntax.parse(text)
                return value == .zero ? nil : value
            },
            render: { DurationText.render($0 ?? .zero) })
    }

    static var optionalDuration: Self {
        Self(
            kind: .duration(zeroIsOff: true),
            parse: { text throws(SettingValueError) in
                let value = try DurationText.parse(text)
                return value == .zero ? nil : value
            },
            render: { DurationText.render($0 ?? .zero) })
    }

    static var milliseconds: Self {
        Self(
            kind: .milliseconds,
            parse: { text throws(SettingValueError) in
                let value = try DurationText.parse(text, bareUnit: .millisecond)
                guard value.components.attoseconds % 1_000_000_000_000_000 == 0 else {
                    throw SettingValueError("\(quoted(text)) is finer than a millisecond")
                }
                return value == .zero ? nil : value
            },
            render: { DurationText.render($0 ?? .zero, in: .millisecond) })
    }
}

extension ValueSyntax where Value: SettingChoice {
    static var choice: Self { choice(emptyIs: nil) }

    /// pgbouncer takes an empty text for its default.
    static func choice(emptyIs other: Value?) -> Self {
        let names = Value.allCases.map(\.rawValue)
        return Self(
            kind: .choice(names),
            parse: { text throws(SettingValueError) in
                if text.isEmpty, let other { return other }
                guard let value = Value(rawValue: text.asciiLowercased) else {
                    throw SettingValueError.notOneOf(names, text)
                }
                return value
            },
            render: { $0.rawValue })
    }
}

extension ValueSyntax where Value == String {
    static var text: Self { text(emptyIs: nil) }

    static func text(emptyIs other: String?) -> Self {
        Self(
            kind: .text,
            parse: { text throws(SettingValueError) in
                guard text.isEmpty else { return text }
                guard let other else { throw SettingValueError("is empty") }
                return other
            },
            render: { $0 })
    }
}

extension ValueSyntax where Value == String? {
    static var optionalText: Self {
        Self(kind: .text, parse: { $0.isEmpty ? nil : $0 }, render: { $0 ?? "" })
    }

    static var path: Self {
        Self(kind: .path, parse: { $0.isEmpty ? nil : $0 }, render: { $0 ?? "" })
    }
}

extension ValueSyntax where Value == [String] {
    static var list: Self {
        Self(
            kind: .list,
            parse: { SettingText.list($0) },
            render: { $0.joined(separator: ", ") })
    }

    /// Names between commas or blanks, as pgbouncer looks them up.
    static var names: Self {
        Self(
            kind: .list,
            parse: { text in
                text.split { $0 == "," || $0.isWhitespace }.map(String.init)
            },
            render: { $0.joined(separator: ", ") })
    }
}

extension SettingValueError {
    static func notOneOf(_ names: [String], _ text: String) -> SettingValueError {
        SettingValueError("\(quoted(text)) is not one of \(names.joined(separator: ", "))")
    }
}

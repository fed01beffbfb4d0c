// SPDX-License-Identifier: Apache-2.0

/// What can be a statement's parameter or a field of a COPY.
///
/// Parameters go as text, `[UInt8]` as binary. A type without a conformance of its own (a date, a
/// UUID, JSON) goes as its text in a `String`, whose type the server infers.
public protocol PostgresEncodable: Sendable {
    /// The type that the server is told; `.unspecified` lets it infer one.
    var postgresType: PostgresType { get }
    /// The value as PostgreSQL reads it; nil is NULL.
    var postgresText: String? { get }
    /// The value as binary COPY carries it; nil when it has no such form.
    var postgresBinary: [UInt8]? { get }
    /// NULL.
    var isPostgresNull: Bool { get }
}

extension PostgresEncodable {
    public var postgresType: PostgresType { .unspecified }
    public var postgresBinary: [UInt8]? { nil }
    public var isPostgresNull: Bool { false }
}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    public var postgresType: PostgresType { self?.postgresType ?? .unspecified }
    public var postgresText: String? { self?.postgresText }
    public var postgresBinary: [UInt8]? { self?.postgresBinary }
    public var isPostgresNull: Bool { self?.isPostgresNull ?? true }
}

extension String: PostgresEncodable {
    public var postgresText: String? { self }
    public var postgresBinary: [UInt8]? { Array(utf8) }
}

extension Substring: PostgresEncodable {
    public var postgresText: String? { String(self) }
    public var postgresBinary: [UInt8]? { Array(utf8) }
}

extension Bool: PostgresEncodable {
    public var postgresType: PostgresType { .bool }
    public var postgresText: String? { self ? "t" : "f" }
    public var postgresBinary: [UInt8]? { [self ? 1 : 0] }
}

extension FixedWidthInteger {
    /// Network byte order.
    var bigEndianBytes: [UInt8] {
        (0..<(bitWidth / 8)).map {
            UInt8(truncatingIfNeeded: self >> (Self(bitWidth) - 8 - Self($0 * 8)))
        }
    }

    /// `int4` where the value fits, since a function that takes an `int4` does not take an `int8`.
    fileprivate var fittingType: PostgresType {
        if Int32(exactly: self) != nil { return .int4 }
        return Int64(exactly: self) != nil ? .int8 : .numeric
    }
}

/// Tells the server `int4` where the value fits, else `int8`; in binary COPY it is an `int8`.
extension Int: PostgresEncodable {
    public var postgresType: PostgresType { fittingType }
    public var postgresText: String? { String(self) }
    public var postgresBinary: [UInt8]? { bigEndianBytes }
}

extension Int64: PostgresEncodable {
    public var postgresType: PostgresType { fittingType }
    public var postgresText: String? { String(self) }
    public var postgresBinary: [UInt8]? { bigEndianBytes }
}

extension Int32: PostgresEncodable {
    public var postgresType: PostgresType { .int4 }
    public var postgresText: String? { String(self) }
    public var postgresBinary: [UInt8]? { bigEndianBytes }
}

extension Int16: PostgresEncodable {
    public var postgresType: PostgresType { .int2 }
    public var postgresText: String? { String(self) }
    public var postgresBinary: [UInt8]? { bigEndianBytes }
}

extension Int8: PostgresEncodable {
    public var postgresType: PostgresType { .int2 }
    public var postgresText: String? { String(self) }
    public var postgresBinary: [UInt8]? { Int16(self).bigEndianBytes }
}

/// Beyond `Int64.max` it is a `numeric`, which has no binary form here.
extension UInt: PostgresEncodable {
    public var postgresType: PostgresType { fittingType }
    public var postgresText: String? { String(self) }
    public var postgresBinary: [UInt8]? { Int64(exactly: self)?.bigEndianBytes }
}

extension UInt64: PostgresEncodable {
    public var postgresType: PostgresType { fittingType }
    public var postgresText: String? { String(self) }
    public var postgresBinary: [UInt8]? { Int64(exactly: self)?.bigEndianBytes }
}

extension UInt32: PostgresEncodable {
    public var postgresType: PostgresType { fittingType }
    public var postgresText: String? { String(self) }
    public var postgresBinary: [UInt8]? { Int64(self).bigEndianBytes }
}

extension UInt16: PostgresEncodable {
    public var postgresType: PostgresType { .int4 }
    public var postgresText: String? { String(self) }
    public var postgresBinary: [UInt8]? { Int32(self).bigEndianBytes }
}

extension BinaryFloatingPoint where Self: CustomStringConvertible {
    /// Swift's shortest text that reads back as the same number; PostgreSQL's names for the rest.
    fileprivate var postgresNumber: String {
        if isNaN { return "NaN" }
        if isInfinite { return self < 0 ? "-Infinity" : "Infinity" }
        return description
    }
}

extension Double: PostgresEncodable {
    public var postgresType: PostgresType { .float8 }
    public var postgresText: String? { postgresNumber }
    public var postgresBinary: [UInt8]? { bitPattern.bigEndianBytes }
}

extension Float: PostgresEncodable {
    public var postgresType: PostgresType { .float4 }
    public var postgresText: String? { postgresNumber }
    public var postgresBinary: [UInt8]? { bitPattern.bigEndianBytes }
}

/// An `interval` of microseconds; what is finer is cut off.
extension Duration: PostgresEncodable {
    public var postgresType: PostgresType { .interval }
    public var postgresText: String? {
        let (seconds, attoseconds) = components
        let fraction = String(abs(attoseconds) / 1_000_000_000_000)
        let digits = String(repeating: "0", count: 6 - fraction.count) + fraction
        let isNegative = seconds < 0 || attoseconds < 0
        return "\(isNegative ? "-" : "")\(seconds.magnitude).\(digits) seconds"
    }

    public var postgresBinary: [UInt8]? {
        let (seconds, attoseconds) = components
        let (scaled, overflow) = seconds.multipliedReportingOverflow(by: 1_000_000)
        if overflow { return nil }
        let (micros, overflows) = scaled.addingReportingOverflow(attoseconds / 1_000_000_000_000)
        return overflows ? nil : micros.bigEndianBytes + [UInt8](repeating: 0, count: 8)
    }
}

/// `[UInt8]` is a `bytea`; an array of anything else is PostgreSQL's array of it.
extension Array: PostgresEncodable where Element: PostgresEncodable {
    public var postgresType: PostgresType {
        if Element.self == UInt8.self { return .bytea }
        return PostgresArrayText.arrayType(of: Element.self)
    }

    public var postgresText: String? {
        if let bytes = postgresBinary { return ByteaText.hex(bytes) }
        return PostgresArrayText.encode(map { $0.postgresText })
    }

    // An empty array of any type would pass the cast alone.
    public var postgresBinary: [UInt8]? {
        Element.self == UInt8.self ? self as? [UInt8] : nil
    }
}

extension ArraySlice: PostgresEncodable where Element: PostgresEncodable {
    public var postgresType: PostgresType { Array(self).postgresType }
    public var postgresText: String? { Array(self).postgresText }
    public var postgresBinary: [UInt8]? { Array(self).postgresBinary }
}

/// An element of `[UInt8]`, and a small number by itself.
extension UInt8: PostgresEncodable {
    public var postgresType: PostgresType { .int2 }
    public var postgresText: String? { String(self) }
    public var postgresBinary: [UInt8]? { Int16(self).bigEndianBytes }
}

// SPDX-License-Identifier: Apache-2.0

/// What a value of a row can be read as. Reads the text form of every type that it names, and the
/// binary form of the common ones.
public protocol PostgresDecodable {
    init(from cell: PostgresCell) throws(DecodeError)
}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) {
        self = cell.isNull ? nil : try Wrapped(from: cell)
    }
}

/// Any type's text.
extension String: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) {
        self = try cell.text()
    }
}

extension Bool: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) {
        let isBinary = cell.isBinary
        self = try cell.withBytes(as: Bool.self) { bytes -> Bool? in
            guard bytes.count == 1 else { return nil }
            switch bytes[0] {
            case 1 where isBinary, UInt8(ascii: "t"): return true
            case 0 where isBinary, UInt8(ascii: "f"): return false
            default: return nil
            }
        }
    }
}

extension FixedWidthInteger {
    fileprivate init(integerFrom cell: PostgresCell) throws(DecodeError) {
        let isBinary = cell.isBinary
        self = try cell.withBytes(as: Self.self) { bytes -> Self? in
            isBinary ? Self(binary: bytes) : Self(decimal: bytes)
        }
    }

    /// Two, four or eight bytes with a sign.
    fileprivate init?(binary bytes: Span<UInt8>) {
        guard [2, 4, 8].contains(bytes.count) else { return nil }
        var bits: UInt64 = 0
        for index in 0..<bytes.count { bits = bits << 8 | UInt64(bytes[index]) }
        let shift = UInt64(64 - bytes.count * 8)
        self.init(exactly: Int64(bitPattern: bits << shift) >> Int64(shift))
    }

    fileprivate init?(decimal bytes: Span<UInt8>) {
        var index = 0
        let isNegative = bytes.count > 0 && bytes[0] == UInt8(ascii: "-")
        if isNegative { index = 1 }
        if index == bytes.count { return nil }
        var value: Self = 0
        while index < bytes.count {
            let digit = bytes[index] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            let (next, overflows) =
                isNegative
                ? scaled.subtractingReportingOverflow(Self(digit))
                : scaled.addingReportingOverflow(Self(digit))
            if overflow || overflows { return nil }
            value = next
            index += 1
        }
        self = value
    }
}

extension Int: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) { try self.init(integerFrom: cell) }
}

extension Int64: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) { try self.init(integerFrom: cell) }
}

extension Int32: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) { try self.init(integerFrom: cell) }
}

extension Int16: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) { try self.init(integerFrom: cell) }
}

extension Int8: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) { try self.init(integerFrom: cell) }
}

extension UInt: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) { try self.init(integerFrom: cell) }
}

extension UInt64: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) { try self.init(integerFrom: cell) }
}

extension UInt32: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) { try self.init(integerFrom: cell) }
}

extension UInt16: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) { try self.init(integerFrom: cell) }
}

/// Also reads `numeric` and the integers, to the nearest number.
extension Double: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) {
        let isBinary = cell.isBinary
        let isFloat = cell.type == .float4 || cell.type == .float8
        self = try cell.withBytes(as: Double.self) { bytes -> Double? in
            if !isBinary { return Double(postgres: bytes.text) }
            guard isFloat else { return Int64(binary: bytes).map(Double.init) }
            var bits: UInt64 = 0
            for index in 0..<bytes.count { bits = bits << 8 | UInt64(bytes[index]) }
            return bytes.count == 4
                ? Double(Float(bitPattern: UInt32(bits))) : Double(bitPattern: bits)
        }
    }

    fileprivate init?(postgres text: String) {
        switch text {
        case "Infinity": self = .infinity
        case "-Infinity": self = -.infinity
        case "NaN": self = .nan
        default: self.init(text)
        }
    }
}

extension Float: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) {
        self = Float(try Double(from: cell))
    }
}

/// `[UInt8]` reads a `bytea`, in both of its text forms; the others read arrays of one dimension,
/// from their text.
extension Array: PostgresDecodable where Element: PostgresArrayElement {
    public init(from cell: PostgresCell) throws(DecodeError) {
        self = try Element.array(from: cell)
    }
}

/// What an array can be read of.
public protocol PostgresArrayElement {
    static func array(from cell: PostgresCell) throws(DecodeError) -> [Self]
}

extension UInt8: PostgresArrayElement {
    public static func array(from cell: PostgresCell) throws(DecodeError) -> [UInt8] {
        let isBinary = cell.isBinary
        return try cell.withBytes(as: [UInt8].self) { bytes -> [UInt8]? in
            if isBinary { return bytes.withUnsafeBufferPointer { Array($0) } }
            return ByteaText.decode(bytes)
        }
    }
}

/// What an element of an array is read of when its text is known.
protocol TextArrayElement: PostgresArrayElement {
    init?(elementText: String?)
}

extension TextArrayElement {
    static func elements(from cell: PostgresCell) throws(DecodeError) -> [Self] {
        if cell.isBinary { throw cell.error(.unreadable(.binary(bytes: 0)), [Self].self) }
        return try cell.withBytes(as: [Self].self) { bytes -> [Self]? in
            guard let texts = PostgresArrayText.decode(bytes.text) else { return nil }
            var elements: [Self] = []
            elements.reserveCapacity(texts.count)
            for text in texts {
                guard let element = Self(elementText: text) else { return nil }
                elements.append(element)
            }
            return elements
        }
    }
}

extension String: TextArrayElement {
    init?(elementText: String?) {
        guard let elementText else { return nil }
        self = elementText
    }

    public static func array(from cell: PostgresCell) throws(DecodeError) -> [String] {
        try elements(from: cell)
    }
}

extension Int: TextArrayElement {
    init?(elementText: String?) {
        guard let elementText, let value = Int(elementText) else { return nil }
        self = value
    }

    public static func array(from cell: PostgresCell) throws(DecodeError) -> [Int] {
        try elements(from: cell)
    }
}

extension Int64: TextArrayElement {
    init?(elementText: String?) {
        guard let elementText, let value = Int64(elementText) else { return nil }
        self = value
    }

    public static func array(from cell: PostgresCell) throws(DecodeError) -> [Int64] {
        try elements(from: cell)
    }
}

extension Int32: TextArrayElement {
    init?(elementText: String?) {
        guard let elementText, let value = Int32(elementText) else { return nil }
        self = value
    }

    public static func array(from cell: PostgresCell) throws(DecodeError) -> [Int32] {
        try elements(from: cell)
    }
}

extension Double: TextArrayElement {
    init?(elementText: String?) {
        guard let elementText, let value = Double(postgres: elementText) else { return nil }
        self = value
    }

    public static func array(from cell: PostgresCell) throws(DecodeError) -> [Double] {
        try elements(from: cell)
    }
}

extension Bool: TextArrayElement {
    init?(elementText: String?) {
        guard elementText == "t" || elementText == "f" else { return nil }
        self = elementText == "t"
    }

    public static func array(from cell: PostgresCell) throws(DecodeError) -> [Bool] {
        try elements(from: cell)
    }
}

extension Optional: PostgresArrayElement where Wrapped: PostgresArrayElement {
    /// Elements that may be NULL.
    public static func array(from cell: PostgresCell) throws(DecodeError) -> [Wrapped?] {
        guard let element = Wrapped.self as? any TextArrayElement.Type else {
            throw cell.error(.unreadable(.text(bytes: 0)), [Wrapped?].self)
        }
        return try cell.withBytes(as: [Wrapped?].self) { bytes -> [Wrapped?]? in
            guard let texts = PostgresArrayText.decode(bytes.text) else { return nil }
            var elements: [Wrapped?] = []
            for text in texts {
                guard let text else {
                    elements.append(nil)
                    continue
                }
                guard let value = element.init(elementText: text) as? Wrapped else { return nil }
                elements.append(value)
            }
            return elements
        }
    }
}

/// An `interval` of days and times, in PostgreSQL's default style; a day has 24 hours. Months are
/// no length of time.
extension Duration: PostgresDecodable {
    public init(from cell: PostgresCell) throws(DecodeError) {
        if cell.isBinary { throw cell.error(.unreadable(.binary(bytes: 16)), Duration.self) }
        self = try cell.withBytes(as: Duration.self) { IntervalText.decode($0.text) }
    }
}

/// PostgreSQL's text of an interval: `-1 days +02:03:04.5`.
enum IntervalText {
    static func decode(_ text: String) -> Duration? {
        var total = Duration.zero
        var words = text.split(separator: " ")[...]
        if words.isEmpty { return nil }
        while let word = words.popFirst() {
            if word.contains(":") {
                guard let time = time(word) else { return nil }
                total += time
            } else if let count = Int(word), let unit = words.popFirst(), unit.hasPrefix("day") {
                total += .seconds(count * 86_400)
            } else {
                return nil
            }
        }
        return total
    }

    /// `[-+]HH:MM:SS[.ffffff]`
    private static func time(_ word: Substring) -> Duration? {
        let isNegative = word.first == "-"
        let digits = word.drop { $0 == "-" || $0 == "+" }
        let parts = digits.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 3, let hours = Int(parts[0]), let minutes = Int(parts[1]) else {
            return nil
        }
        let seconds = parts[2].split(separator: ".", maxSplits: 1)
        guard let whole = seconds.first.flatMap({ Int($0) }) else { return nil }
        var micros = 0
        if seconds.count == 2 {
            let padded = (String(seconds[1]) + "000000").prefix(6)
            guard let value = Int(padded) else { return nil }
            micros = value
        }
        let length =
            Duration.seconds(hours * 3600 + minutes * 60 + whole) + .microseconds(micros)
        return isNegative ? .zero - length : length
    }
}

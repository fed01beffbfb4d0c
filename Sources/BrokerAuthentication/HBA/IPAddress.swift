// SPDX-License-Identifier: Apache-2.0

/// An Internet address as a number.
///
/// Invariant: an IPv4 address fills the lower 32 bits. IPv6's form of an IPv4 address (`::ffff:10.0.0.1`, what a
/// listener for both families names an IPv4 client) is that IPv4 address.
package struct IPAddress: Equatable, Sendable {
    package enum Family: Sendable {
        case v4, v6

        var bits: Int { self == .v4 ? 32 : 128 }
    }

    package let family: Family
    let value: UInt128

    init(_ family: Family, _ value: UInt128) {
        self.family = family
        self.value = value
    }

    /// Reads the numeric form, `10.0.0.1` or `fe80::1%eth0`, whose zone is not kept.
    package init?(parsing text: String) {
        let numeric = text.prefix { $0 != "%" }
        guard let address = Self.exactly(numeric) else { return nil }
        self = address.unmapped
    }

    /// Reads an address as it is written, without its zone, and leaves `::ffff:0:0/96` in IPv6.
    static func exactly(_ text: Substring) -> IPAddress? {
        if let value = ipv4(text) { return IPAddress(.v4, UInt128(value)) }
        return ipv6(text).map { IPAddress(.v6, $0) }
    }

    static let mappedPrefix: UInt128 = 0xffff << 32

    private var unmapped: IPAddress {
        guard family == .v6, value >> 32 == 0xffff else { return self }
        return IPAddress(.v4, value & 0xffff_ffff)
    }

    /// Four decimal numbers up to 255, without leading zeros, as inet_pton(3) has them.
    private static func ipv4(_ text: Substring) -> UInt32? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var value: UInt32 = 0
        for part in parts {
            guard (1...3).contains(part.utf8.count),
                part.utf8.allSatisfy({ (48...57).contains($0) }),
                part.utf8.count == 1 || part.first != "0", let byte = UInt8(part)
            else { return nil }
            value = value << 8 | UInt32(byte)
        }
        return value
    }

    /// Eight groups of hexadecimal digits; one run of zeros may be `::`, the last two groups an IPv4 address.
    private static func ipv6(_ text: Substring) -> UInt128? {
        guard let gap = text.firstRange(of: "::") else {
            guard let groups = groups(text, mayEndInIPv4: true), groups.count == 8 else {
                return nil
            }
            return number(groups)
        }
        let after = text[gap.upperBound...]
        guard let front = groups(text[..<gap.lowerBound], mayEndInIPv4: false),
            let back = groups(after, mayEndInIPv4: true), front.count + back.count < 8
        else { return nil }
        let zeros = [UInt16](repeating: 0, count: 8 - front.count - back.count)
        return number(front + zeros + back)
    }

    private static func groups(_ text: Substring, mayEndInIPv4: Bool) -> [UInt16]? {
        guard !text.isEmpty else { return [] }
        var groups: [UInt16] = []
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        for (index, part) in parts.enumerated() {
            if mayEndInIPv4, index == parts.count - 1, part.contains(".") {
                guard let address = ipv4(part) else { return nil }
                groups += [UInt16(address >> 16), UInt16(address & 0xffff)]
                continue
            }
            guard (1...4).contains(part.utf8.count), part.utf8.allSatisfy(isHexadecimal),
                let group = UInt16(part, radix: 16)
            else { return nil }
            groups.append(group)
        }
        return groups
    }

    private static func isHexadecimal(_ byte: UInt8) -> Bool {
        (48...57).contains(byte) || (65...70).contains(byte) || (97...102).contains(byte)
    }

    private static func number(_ groups: [UInt16]) -> UInt128 {
        groups.reduce(0) { $0 << 16 | UInt128($1) }
    }
}

/// Addresses that agree with one in the bits of a mask.
package struct IPNetwork: Equatable, Sendable {
    let family: IPAddress.Family
    let base: UInt128
    let mask: UInt128

    /// The mask's bits are any, as PostgreSQL takes them. A network inside `::ffff:0:0/96` is one of IPv4.
    init(_ address: IPAddress, mask: UInt128) {
        let mapped = IPAddress.mappedPrefix
        let upper = ~UInt128(0) << 32
        if address.family == .v6, mask & upper == upper, address.value & upper == mapped {
            family = .v4
            self.mask = mask & ~upper
            base = address.value & ~upper & self.mask
        } else {
            family = address.family
            self.mask = mask
            base = address.value & mask
        }
    }

    init(_ address: IPAddress, prefix: Int) {
        self.init(address, mask: Self.mask(prefix, address.family))
    }

    static func mask(_ prefix: Int, _ family: IPAddress.Family) -> UInt128 {
        guard prefix > 0 else { return 0 }
        let ones = ~UInt128(0) >> (128 - family.bits)
        return ones & (ones << (family.bits - prefix))
    }

    package func contains(_ address: IPAddress) -> Bool {
        address.family == family && address.value & mask == base
    }
}

extension IPAddress: CustomStringConvertible {
    /// IPv6 in eight groups, with its longest run of zeros as `::`.
    package var description: String {
        switch family {
        case .v4:
            return [24, 16, 8, 0].map { "\(value >> $0 & 0xff)" }.joined(separator: ".")
        case .v6:
            let groups = (0..<8).map { UInt16(truncatingIfNeeded: value >> ((7 - $0) * 16)) }
            let zeros = Self.longestZeros(groups)
            let texts = groups.map { String($0, radix: 16) }
            guard zeros.count > 1 else { return texts.joined(separator: ":") }
            return texts[..<zeros.lowerBound].joined(separator: ":") + "::"
                + texts[zeros.upperBound...].joined(separator: ":")
        }
    }

    private static func longestZeros(_ groups: [UInt16]) -> Range<Int> {
        var longest = 0..<0
        var start = 0
        for index in 0...groups.count where index == groups.count || groups[index] != 0 {
            if index - start > longest.count { longest = start..<index }
            start = index + 1
        }
        return longest
    }
}

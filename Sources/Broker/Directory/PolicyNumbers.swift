// SPDX-License-Identifier: Apache-2.0

/// Numbers by which pools that share a limit know each other. The same name has the same number for good.
struct PolicyNumbers {
    private var databases: [String: UInt32] = [:]
    private var users: [String: UInt32] = [:]
    /// Servers, and databases and roles of servers.
    private var places: [String: UInt32] = [:]

    mutating func database(_ name: String) -> UInt32 { Self.number(of: name, in: &databases) }
    mutating func user(_ name: String) -> UInt32 { Self.number(of: name, in: &users) }
    mutating func place(_ name: String) -> UInt32 { Self.number(of: name, in: &places) }

    private static func number(of name: String, in numbers: inout [String: UInt32]) -> UInt32 {
        if let known = numbers[name] { return known }
        let next = UInt32(numbers.count) + 1
        numbers[name] = next
        return next
    }
}

// SPDX-License-Identifier: Apache-2.0

/// A group's share, and what it has of it over all pools.
struct GroupAccount {
    var policy: GroupPolicy
    var leases = 0
    var waiting = 0

    @inline(__always)
    func isAtCap(planned: Int = 0) -> Bool {
        guard let cap = policy.maxLeases else { return false }
        return leases + planned >= cap
    }

    /// What is still kept for the group in a pool where it holds `leases`.
    @inline(__always)
    func unusedGuarantee(leases: Int) -> Int { max(0, policy.minLeases - leases) }
}

/// The groups by number. A number that the shell has not opened is a broken contract.
struct GroupLedger: ~Copyable {
    private(set) var accounts = SlotArray<GroupAccount?>()

    /// Connections that a pool without leases keeps for all groups together.
    var guarantees: Int {
        var sum = 0
        for index in accounts.indices { sum += accounts[index]?.policy.minLeases ?? 0 }
        return sum
    }

    func contains(_ group: GroupID) -> Bool {
        let index = Int(group.rawValue)
        return index < accounts.count && accounts[index] != nil
    }

    mutating func open(_ group: GroupID, _ policy: GroupPolicy) {
        let index = Int(group.rawValue)
        if contains(group) { contractBroken("\(group) is open already") }
        while accounts.count <= index { accounts.append(nil) }
        accounts[index] = GroupAccount(policy: policy.sane)
    }

    /// Something is kept for the group.
    @inline(__always)
    func isGuaranteed(_ index: Int) -> Bool {
        (accounts.address(index).pointee?.policy.minLeases ?? 0) > 0
    }

    /// It has so many leases more.
    @inline(__always)
    func count(_ leases: Int, of index: Int) {
        accounts.address(index).pointee!.leases += leases
    }

    @inline(__always)
    subscript(index: Int) -> GroupAccount {
        get {
            guard index < accounts.count, let account = accounts[index] else {
                contractBroken("group \(index) was never opened")
            }
            return account
        }
        set { accounts[index] = newValue }
    }
}

extension GroupPolicy {
    /// With limits that the arithmetic relies on.
    var sane: GroupPolicy {
        GroupPolicy(
            weight: max(1, weight), minLeases: max(0, minLeases),
            maxLeases: maxLeases.map { max(0, $0) }, maxPins: maxPins.map { max(0, $0) })
    }
}

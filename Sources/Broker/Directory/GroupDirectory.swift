// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// A group of clients that share caps, for as long as it has members or a line in `[groups]`.
final class ClientGroup {
    let id: GroupID
    let name: String
    var policy: GroupPolicy
    var members = 0
    let times: GroupTimes

    init(id: GroupID, name: String, policy: GroupPolicy, times: GroupTimes) {
        self.id = id
        self.name = name
        self.policy = policy
        self.times = times
    }
}

/// Which groups there are.
///
/// Invariant: each group is found by its name and by its number, or is gone, and its number is free for the next
/// name: there may be a name for each worker process that ever was.
struct GroupDirectory {
    /// What was counted of all groups that there ever were.
    private(set) var times = GroupTimesTable()
    private var byName: [String: ClientGroup] = [:]
    private var byID: [GroupID: ClientGroup] = [:]
    private var last: UInt32 = 0
    private var free: [GroupID] = []

    subscript(name: String) -> ClientGroup? { byName[name] }
    subscript(id: GroupID) -> ClientGroup? { byID[id] }
    var all: [ClientGroup] { Array(byName.values) }

    /// A new group; `isKnown`: the scheduler has heard of its number before.
    mutating func open(
        _ name: String, _ policy: GroupPolicy, isConfigured: Bool
    ) -> (group: ClientGroup, isKnown: Bool) {
        let freed = free.popLast()
        if freed == nil { last += 1 }
        let group = ClientGroup(
            id: freed ?? GroupID(last), name: name, policy: policy,
            times: times.times(of: name, isConfigured: isConfigured))
        byName[name] = group
        byID[group.id] = group
        return (group, freed != nil)
    }

    mutating func close(_ group: ClientGroup) {
        byName[group.name] = nil
        byID[group.id] = nil
        free.append(group.id)
    }
}

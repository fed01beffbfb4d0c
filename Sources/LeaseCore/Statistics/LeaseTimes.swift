// SPDX-License-Identifier: Apache-2.0

/// How long the leases of one pool took in each respect.
package struct PoolTimes {
    package init() {}

    /// From the request to the grant; those that were granted.
    package var wait = DurationHistogram()
    /// From the grant to the end.
    package var hold = DurationHistogram()
    /// Until a new server connection is fit for use.
    package var connect = DurationHistogram()
    /// From a request of the client to its whole answer; a pipeline that is answered at once counts once.
    package var query = DurationHistogram()
    package var transaction = DurationHistogram()

    package static func += (sum: inout PoolTimes, next: PoolTimes) {
        sum.wait += next.wait
        sum.hold += next.hold
        sum.connect += next.connect
        sum.query += next.query
        sum.transaction += next.transaction
    }
}

/// How long the leases of one group took. It outlives the group's clients: what was counted stays.
package final class GroupTimes {
    package let group: String
    package var wait = DurationHistogram()
    package var hold = DurationHistogram()

    package init(group: String) { self.group = group }
}

/// The times of all groups that there ever were, within a bound: names may hold process numbers.
///
/// Invariant: at most `limit` names that the configuration does not spell out; all others share `other`.
package struct GroupTimesTable {
    package init() {}

    package static let limit = 100
    package static let otherName = "other"

    private var byName: [String: GroupTimes] = [:]
    private let other = GroupTimes(group: otherName)
    private var unconfigured = 0
    private var isOtherUsed = false

    package mutating func times(of group: String, isConfigured: Bool) -> GroupTimes {
        if let known = byName[group] { return known }
        if group == Self.otherName || (!isConfigured && unconfigured == Self.limit) {
            isOtherUsed = true
            return other
        }
        if !isConfigured { unconfigured += 1 }
        let made = GroupTimes(group: group)
        byName[group] = made
        return made
    }

    /// In a stable order; the last is what the others share, once it is used.
    package var inOrder: [GroupTimes] {
        byName.values.sorted { $0.group < $1.group } + (isOtherUsed ? [other] : [])
    }
}

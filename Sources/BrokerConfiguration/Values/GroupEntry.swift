// SPDX-License-Identifier: Apache-2.0

/// A line of `[groups]`: the share of the clients whose application_name matches.
package struct GroupEntry: Equatable, Sendable {
    package var name: String
    /// `match`: a glob for application_name; the name itself when not given.
    package var match: GlobPattern
    /// `database`: the rule is for clients of this database only.
    package var database: String?
    package var weight = 1
    /// Connections kept for this group.
    package var minLeases = 0
    /// nil: no cap.
    package var maxLeases: Int?
    /// How many of its leases may be pinned; nil: all.
    package var maxPins: Int?

    package init(name: String) {
        self.name = name
        self.match = GlobPattern(name)
    }

    /// A name with wildcards makes each matching application_name a group of its own, with these
    /// limits.
    package var isTemplate: Bool { GlobPattern(name).hasWildcards }

    package func applies(toApplication applicationName: String, database requested: String) -> Bool
    {
        (database == nil || database == requested) && match.matches(applicationName)
    }
}

/// The group that a client falls in.
package struct GroupAssignment: Equatable, Sendable {
    package let name: String
    /// nil: no line of `[groups]` matches, the group is the application_name with no limits.
    package let entry: GroupEntry?
}

// SPDX-License-Identifier: Apache-2.0

/// How many clients there are: what the limits of clients are for.
struct ClientCounts {
    /// Those who have said who they are, logged in or on the way to it, the console's among them.
    private(set) var arrived = 0
    /// Those who have connected and said nothing yet.
    private(set) var silent = 0
    /// Those who are logged in.
    private(set) var byDatabase: [String: Int] = [:]
    private(set) var byUser: [String: Int] = [:]

    mutating func connected() { silent += 1 }

    mutating func arrive() {
        silent -= 1
        arrived += 1
    }

    /// A connection is closed.
    mutating func depart(hasArrived: Bool) {
        if hasArrived { arrived -= 1 } else { silent -= 1 }
    }

    mutating func join(database: String, user: String) {
        byDatabase[database, default: 0] += 1
        byUser[user, default: 0] += 1
    }

    mutating func leave(database: String, user: String) {
        Self.decrement(&byDatabase, database)
        Self.decrement(&byUser, user)
    }

    private static func decrement(_ counts: inout [String: Int], _ name: String) {
        guard let count = counts[name] else { return }
        counts[name] = count == 1 ? nil : count - 1
    }
}

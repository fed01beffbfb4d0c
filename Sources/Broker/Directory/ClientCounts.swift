/// How many clients have joined a pool, altogether, by database and by user: what the limits of clients are for.
/// Invariant: `total` is the sum of each of the two others.
struct ClientCounts {
    private(set) var total = 0
    private(set) var byDatabase: [String: Int] = [:]
    private(set) var byUser: [String: Int] = [:]

    mutating func join(database: String, user: String) {
        total += 1
        byDatabase[database, default: 0] += 1
        byUser[user, default: 0] += 1
    }

    mutating func leave(database: String, user: String) {
        total -= 1
        Self.decrement(&byDatabase, database)
        Self.decrement(&byUser, user)
    }

    private static func decrement(_ counts: inout [String: Int], _ name: String) {
        guard let count = counts[name] else { return }
        counts[name] = count == 1 ? nil : count - 1
    }
}

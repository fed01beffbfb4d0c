// SPDX-License-Identifier: Apache-2.0

/// Places for pinned leases: how many each pool and each group has out, and who waits for one.
///
/// A client has one place at most. It is taken before a statement goes out that will pin, kept while the lease is
/// pinned, and given back when the lease is found to hold nothing, or ends. Invariant: the counts are those of
/// `places`, and nobody who waits has one.
package struct PinLedger {
    package struct Place {
        package let pool: PoolSlot
        package let group: GroupID
        /// The lease that it is for; nil: it waits for a server.
        package fileprivate(set) var server: ServerID?
    }

    package struct Waiter {
        package let client: ClientID
        package let pool: PoolSlot
        package let group: GroupID
        package let reasons: PinReasons
        package let since: Instant
        package let deadline: Instant
        /// It is told that it waits then; nil: it was, or is not to be.
        package internal(set) var notifyAt: Instant?
    }

    /// What may be pinned at a time. nil: no bound.
    package struct Bounds: Equatable {
        package var pool: Int?
        package var group: Int?

        package init(pool: Int? = nil, group: Int? = nil) {
            self.pool = pool
            self.group = group
        }
    }

    /// What has no place left.
    package enum Bound: Equatable, Sendable {
        case pool(Int)
        case group(Int)

        var limit: Int {
            switch self {
            case .pool(let limit), .group(let limit): limit
            }
        }
    }

    package private(set) var places: [ClientID: Place] = [:]
    /// In the order in which they came.
    package private(set) var waiters: [Waiter] = []
    private var clientOf: [ServerID: ClientID] = [:]
    private var ofPool: [PoolSlot: Int] = [:]
    private var ofGroup: [GroupID: Int] = [:]

    package init() {}

    /// Nobody has a place, and nobody waits for one.
    package var isEmpty: Bool { places.isEmpty && waiters.isEmpty }

    package func count(of pool: PoolSlot) -> Int { ofPool[pool] ?? 0 }
    package func count(of group: GroupID) -> Int { ofGroup[group] ?? 0 }

    /// What stands in the way of one more; nil: there is a place.
    package func bound(_ pool: PoolSlot, _ group: GroupID, _ bounds: Bounds) -> Bound? {
        if let most = bounds.pool, count(of: pool) >= most { return .pool(most) }
        if let most = bounds.group, count(of: group) >= most { return .group(most) }
        return nil
    }

    package func place(of client: ClientID) -> Place? { places[client] }
    package func client(on server: ServerID) -> ClientID? { clientOf[server] }
    package func isWaiting(_ client: ClientID) -> Bool { waiters.contains { $0.client == client } }

    package mutating func take(_ client: ClientID, _ pool: PoolSlot, _ group: GroupID) {
        precondition(places[client] == nil, "a client takes a second place")
        places[client] = Place(pool: pool, group: group, server: nil)
        ofPool[pool, default: 0] += 1
        ofGroup[group, default: 0] += 1
    }

    /// Its place is for the lease of this server.
    package mutating func bind(_ client: ClientID, to server: ServerID) {
        guard places[client] != nil else { return }
        if let before = places[client]?.server { clientOf[before] = nil }
        places[client]?.server = server
        clientOf[server] = client
    }

    /// It has no place any more. False if it had none.
    @discardableResult
    package mutating func giveBack(_ client: ClientID) -> Bool {
        guard let place = places.removeValue(forKey: client) else { return false }
        if let server = place.server { clientOf[server] = nil }
        Self.countOne(less: place.pool, in: &ofPool)
        Self.countOne(less: place.group, in: &ofGroup)
        return true
    }

    private static func countOne<Key>(less key: Key, in counts: inout [Key: Int]) {
        let left = (counts[key] ?? 0) - 1
        counts[key] = left > 0 ? left : nil
    }

    package mutating func wait(_ waiter: Waiter) {
        precondition(places[waiter.client] == nil, "a client waits that has a place")
        waiters.append(waiter)
    }

    package func waiter(_ client: ClientID) -> Waiter? {
        waiters.first { $0.client == client }
    }

    package mutating func wasTold(_ client: ClientID) {
        guard let index = waiters.firstIndex(where: { $0.client == client }) else { return }
        waiters[index].notifyAt = nil
    }

    /// It waits no more. nil: it did not.
    @discardableResult
    package mutating func stopWaiting(_ client: ClientID) -> Waiter? {
        guard let index = waiters.firstIndex(where: { $0.client == client }) else { return nil }
        return waiters.remove(at: index)
    }

    /// Its place among those who wait in the same pool, 1 is next.
    package func turn(of client: ClientID) -> (place: Int, waiting: Int) {
        guard let waiter = waiter(client) else { return (0, 0) }
        var place = 0
        var waiting = 0
        for one in waiters where one.pool == waiter.pool {
            waiting += 1
            if one.client == client { place = waiting }
        }
        return (place, waiting)
    }
}

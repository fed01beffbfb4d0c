// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibUV

/// Where this broker stands between the one whose place it takes, and the one that takes its own.
///
/// Invariant: the connections of all three are never more than a bound allows: see `HandoverBounds`.
struct Handover {
    /// Whose place it takes; nil: nobody's, or it has ended.
    var before: FormerBroker?
    /// What the former one has handed over; nil once this one listens.
    var sockets: HandedSockets?
    var metrics: HandedSockets?
    /// Who takes its place.
    var after: NextBroker?
    /// Its listening sockets are another's: it serves those who are there.
    var isReplaced: Bool { after?.isServing == true }
    /// CancelRequests that another broker is asked to carry out.
    var cancels: [ObjectIdentifier: ForwardedCancel] = [:]

    mutating func close() {
        before?.channel.close()
        before = nil
        after?.channel.close()
        after = nil
        for cancel in cancels.values { cancel.close() }
        cancels = [:]
    }
}

/// The broker whose place this one takes, and what it still has.
final class FormerBroker {
    let processID: Int32
    let channel: HandoverChannel
    /// One connection of each bound is this broker's to use.
    var hasLent = false
    /// It was told that clients are accepted here.
    var isTold = false
    /// It has named all its pools, and opens none of others.
    var hasNamedAll = false
    var isSettled = false
    private(set) var held: [PoolKey: Int] = [:]
    private(set) var heldByDatabase: [String: Int] = [:]
    private(set) var heldByUser: [String: Int] = [:]
    private(set) var heldInAll = 0
    /// What it keeps has changed, and the bounds here are to follow.
    var hasNews = false
    /// Paused, since it has all that a bound allows.
    var stopped: Set<PoolID> = []

    init(processID: Int32, channel: HandoverChannel) {
        self.processID = processID
        self.channel = channel
    }

    /// It keeps so many connections of this pool.
    func keeps(_ count: Int, of key: PoolKey) {
        let more = count - held[key, default: 0]
        held[key] = count
        heldByDatabase[key.database, default: 0] += more
        heldByUser[key.user, default: 0] += more
        heldInAll += more
    }

    /// One who is still in a login there may open one connection of a pool that was not named.
    var unnamed: Int { isSettled ? 0 : 1 }
}

/// The broker that takes this one's place.
final class NextBroker {
    let processID: Int32
    let channel: HandoverChannel
    /// It accepts clients.
    var isServing = false
    /// Since when.
    var since: Instant?
    /// It was told that one connection of each bound is its own.
    var wasLent = false
    var isSettled = false
    /// How many clients each pool had when it began to serve.
    var clientsBefore: [PoolKey: Int] = [:]
    /// The bounds here are one less.
    var hasYielded = false
    /// How many connections each pool had then.
    var frozen: [PoolKey: Int] = [:]
    /// How many connections each pool may have here; it never grows.
    var limits: [PoolKey: Int] = [:]
    /// What it was told last.
    var told: [PoolKey: Int] = [:]

    init(processID: Int32, channel: HandoverChannel) {
        self.processID = processID
        self.channel = channel
    }
}

// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// A client of a run about listening: what it sends, and what it must, may and must not be told.
final class ListenClient {
    /// From the commit of a LISTEN to that of an UNLISTEN, as places in the log.
    struct Interval {
        let channel: String
        /// What was committed since its batch was sent may be told as well.
        let allowedFrom: Int
        let from: Int
        /// What is not told before the UNLISTEN need not be told any more.
        var dueUntil = Int.max
        var until = Int.max
    }

    let index: Int
    let id: ClientID
    let told: Int32
    var inbox: [UInt8] = []
    var outbox: [UInt8] = []
    var isLoggedIn = false
    var isGone = false
    var hasLeft = false

    /// ReadyForQuery that are to come, and the place in the log when their batches were sent.
    var awaits: [Int] = []
    var status = TransactionStatus.idle
    var savepoints = 0
    /// Where the log was when the last batch of those that are answered outside transactions was sent.
    var seen = 0
    var intervals: [Interval] = []
    /// Notifications that were told, by their place in the log.
    private(set) var received: Set<Int> = []
    private var lastReceived = -1
    /// What was lost up to here was told as perhaps missed.
    var forgivenUpTo = 0
    /// An error of the broker's: what its session listens to is not known until UNLISTEN * is answered.
    var isInDoubt = false
    /// It has sent UNLISTEN * since.
    var clearsDoubt = false
    var sent = ""

    init(index: Int, id: ClientID) {
        self.index = index
        self.id = id
        told = Engine.processID(toldTo: id)
    }

    /// A commit of its own changed what it listens to.
    func committed(_ actions: [ListenBackend.Action], at place: Int) {
        for action in actions {
            switch action {
            case .listen(let name):
                if !intervals.contains(where: { $0.channel == name && $0.until == .max }) {
                    // PostgreSQL tells a session that listens already what it has not read yet of a further
                    // channel, too.
                    let isFirst = intervals.allSatisfy { $0.until != .max }
                    intervals.append(
                        Interval(
                            channel: name, allowedFrom: isFirst ? awaits.first ?? place : seen,
                            from: place))
                }
            case .unlisten(let name): end(place) { $0 == name }
            case .unlistenAll: end(place) { _ in true }
            }
        }
    }

    private func end(_ place: Int, where isMeant: (String) -> Bool) {
        for index in intervals.indices
        where intervals[index].until == .max && isMeant(intervals[index].channel) {
            intervals[index].until = place
            intervals[index].dueUntil = min(seen, place)
        }
    }

    /// Its connection was lost in the middle: nothing that it listens to is owed any more.
    func doubt() {
        isInDoubt = true
        clearsDoubt = false
        for index in intervals.indices {
            intervals[index].dueUntil = min(intervals[index].dueUntil, seen)
        }
    }

    func isAllowed(_ place: Int, _ channel: String) -> Bool {
        isInDoubt
            || intervals.contains {
                $0.channel == channel && $0.allowedFrom <= place && place < $0.until
            }
    }

    private func isDue(_ place: Int, _ channel: String) -> Bool {
        place >= forgivenUpTo
            && intervals.contains {
                $0.channel == channel && $0.from <= place && place < $0.dueUntil
            }
    }

    /// The first that should have been told by now.
    func missing(before end: Int, in log: [ListenCluster.Notification]) -> Int? {
        guard !isInDoubt else { return nil }
        return (forgivenUpTo..<max(end, forgivenUpTo)).first {
            !received.contains($0) && isDue($0, log[$0].channel)
        }
    }

    /// What is wrong with being told this.
    func receive(
        _ process: Int32, _ channel: String, _ payload: String,
        _ log: [ListenCluster.Notification], mayMissItsOwn: Bool
    ) -> String? {
        guard let place = log.firstIndex(where: { $0.payload == payload }) else {
            return "\(payload) was never committed"
        }
        if log[place].channel != channel { return "\(payload) came on \(channel)" }
        if place <= lastReceived { return "\(payload) came twice, or behind a later one" }
        if !isAllowed(place, channel) { return "\(payload) came to one that does not listen" }
        let isOwn = log[place].owner == index
        if process == told ? !isOwn : isOwn && !mayMissItsOwn {
            return "\(payload) of client \(log[place].owner ?? -1) came as of process \(process)"
        }
        lastReceived = place
        received.insert(place)
        return nil
    }
}

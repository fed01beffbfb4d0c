// SPDX-License-Identifier: Apache-2.0

/// Whether a pool hands connections out to processes, or its clients had better use the relay.
///
/// One that was handed out serves a single process. Where more processes want connections than
/// there are, each lease would close another process's connection and open a new one: so a pool
/// that had to do that hands none out for a pause, and longer each time it has to do it again.
/// Measured with ten connections (`scripts/simulate --contention`): where 30 processes that hand
/// out always close 480 to 620 a second, the pause leaves less than one.
struct Contention {
    static let shortestPause: Int64 = 1_000_000_000
    static let longestPause: Int64 = 60_000_000_000
    /// After so long without one, the next pause is the shortest again.
    static let memory: Int64 = 300_000_000_000

    /// No connection is handed out before this moment; nil: none was taken away yet.
    private(set) var until: Instant?
    private var pause = shortestPause
    private var takenAt = Instant.zero

    @inline(__always)
    func handsOut(_ now: Instant) -> Bool {
        guard let until else { return true }
        return until <= now
    }

    /// A connection was closed because it was confined to another process than its waiter's.
    mutating func tookAway(_ now: Instant) {
        if let until {
            if now.nanoseconds(since: takenAt) >= Self.memory {
                pause = Self.shortestPause
            } else if until <= now {
                pause = min(pause * 2, Self.longestPause)
            }
        }
        takenAt = now
        until = now.adding(pause)
    }
}

/// Connections that a client process had the descriptor of: it may have kept a copy, so they serve
/// that process only, and are closed rather than given to another.
extension Scheduler {
    /// Whether the descriptor of this connection, leased to a client of that process, may be handed
    /// to it. False also for a connection that is gone.
    package func mayHandOut(_ server: ServerID, to peer: PeerID, now: Instant) -> Bool {
        guard let index = servers.index(of: server) else { return false }
        if let confinedTo = servers.slots[index].confinedTo { return confinedTo == peer }
        return pools[servers.slots[index].pool].contention.handsOut(now)
    }

    mutating func serverHandedOut(_ server: ServerID, to peer: PeerID) {
        guard let index = live(server) else { return }
        guard state(of: index) == .leased else { illegal("serverHandedOut", index) }
        if servers.slots[index].confinedTo == peer { return }
        guard isOpen(index, to: peer) else {
            contractBroken("server \(server) handed to a second process, \(peer)")
        }
        servers.slots[index].confinedTo = peer
        pools[servers.slots[index].pool].counts.confined += 1
    }

    mutating func peerGone(
        _ peer: PeerID, _ now: Instant, _ effects: inout [SchedulerEffect]
    ) {
        var hasRoom = false
        for index in servers.slots.indices where servers.slots[index].confinedTo == peer {
            switch state(of: index) {
            case .idle, .validating, .resetting:
                close(index, .confined, now, &effects)
                hasRoom = true
            case .leased, .cancelling: servers.slots[index].closeWhenFree = .confined
            case .connecting, .closing: break
            }
        }
        if hasRoom { settleAll(now, &effects) }
    }
}

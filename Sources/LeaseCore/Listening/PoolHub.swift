// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The one that listens for the clients of a pool: it asks the scheduler for a lease as a client does, and keeps it as
/// long as some client listens.
///
/// It speaks in rounds: one text that brings PostgreSQL to what is wanted, or an empty one, and the answer to it. What
/// was committed before a round was sent has been told when the round is answered: PostgreSQL tells notifications in
/// front of ReadyForQuery.
final class PoolHub {
    enum Phase {
        /// Nobody listens.
        case absent
        /// It waits for a lease.
        case asking
        case listening(ServerID)
        /// Its request was refused: it asks again.
        case waiting(until: Instant)
    }

    /// What a client waits for.
    enum Wish {
        /// That its message may go on.
        case message
        /// That what its server notifies from now on is its own.
        case lease(LeaseID)
        /// That the hub listens to what its server was found to listen to.
        case found
        /// That its ReadyForQuery may pass.
        case ready
    }

    struct Round {
        var wishes: [(client: ClientID, wish: Wish)] = []
        var sentAt = Instant.zero
    }

    let pool: PoolSlot
    /// As the scheduler knows it.
    let identity: ClientID
    var phase = Phase.absent
    /// The client whose LISTEN need not wait: its server's connection is the hub's when its lease ends. Else clients
    /// that hold all connections of the pool would wait for one more.
    var founder: ClientID?
    var table = ChannelTable()
    /// What is asked now; nil: nothing.
    var round: Round?
    var error: PgError?
    /// What comes behind it.
    var next: [(client: ClientID, wish: Wish)] = []
    /// When the last round that was answered was sent.
    var answeredRoundAt = Instant.zero
    /// A round was answered on this connection.
    var isProven = false
    /// Since when notifications may have been missed; nil: none are.
    var deafSince: Instant?
    /// The connection is given back once the round is answered.
    var isLeaving = false
    /// An operator wants another connection in its place.
    var mustReconnect = false
    /// The pool is paused, closed or too small: no connection is asked for.
    var isStopped = false

    init(pool: PoolSlot, identity: ClientID) {
        self.pool = pool
        self.identity = identity
    }

    var server: ServerID? {
        if case .listening(let server) = phase { return server }
        return nil
    }

    /// It hears what is notified on the channels that it was told of before the last round.
    var isListening: Bool { isAnswering && isProven && deafSince == nil }

    /// A round is, or can be, under way.
    var isAnswering: Bool { server != nil && !isLeaving }

    /// Everyone that wants a channel.
    var clients: Set<ClientID> { table.allClients }
}

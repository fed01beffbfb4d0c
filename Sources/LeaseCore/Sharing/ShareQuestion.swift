// SPDX-License-Identifier: Apache-2.0

/// What a sidecar says of itself when it asks for its share of a bound: the arguments of `pglease.ask`.
package struct ShareQuestion: Equatable, Sendable {
    /// Counts the questions of one run. The table answers none that a later one has overtaken.
    package var number: Int64
    /// Of the last answer; nil: there was none.
    package var era: String?
    package var clock: Int64
    /// Milliseconds since that arrived, by the sidecar's own clock.
    package var since: Int64
    /// Connections that may be alive: open, being opened, being closed, and the one that asks if it takes a place of the
    /// share.
    package var used: Int
    /// Connections that it could use.
    package var want: Int

    package init(
        number: Int64, era: String?, clock: Int64, since: Int64, used: Int, want: Int
    ) {
        self.number = number
        self.era = era
        self.clock = clock
        self.since = since
        self.used = used
        self.want = want
    }
}

/// What a sidecar does about its next question.
package enum ShareTurn: Equatable, Sendable {
    /// It is not due; or all places of the share are taken, and one that ends is waited for.
    case later
    /// It is due. `isWithin`: the connection that asks takes one of the share's places, else a spare one of the bound:
    /// there is no share yet, or every connection was in a lease for longer than a question can wait.
    case ask(isWithin: Bool)
}

/// What the table answers.
package struct ShareAnswer: Equatable, Sendable {
    /// Connections that are the sidecar's, whatever happens to it, until its row runs out.
    package var share: Int
    /// What it is due. Below its share it gives back, above it grows as others do.
    package var target: Int
    /// Places that nobody has.
    package var free: Int
    package var total: Int
    /// Sidecars that asked lately.
    package var hosts: Int
    /// Milliseconds between two questions.
    package var period: Int64
    /// Of this PostgreSQL since it was started; and milliseconds in it, as the sidecars have counted them.
    package var era: String
    package var clock: Int64

    package init(
        share: Int, target: Int, free: Int, total: Int, hosts: Int, period: Int64, era: String,
        clock: Int64
    ) {
        self.share = share
        self.target = target
        self.free = free
        self.total = total
        self.hosts = hosts
        self.period = period
        self.era = era
        self.clock = clock
    }
}

/// What the scheduler may do under a shared bound.
package struct ShareAllowance: Equatable, Sendable {
    /// Connections in any state that one more may be opened beside.
    package var limit: Int
    /// From then on no attempt is begun, and one that was begun before and is not through is given up: five periods after
    /// the question was sent. While a question is out, none is begun.
    package var until: Instant
    /// The same while no connection is open: nobody would notice that PostgreSQL is another one.
    package var alone: Instant

    package init(limit: Int, until: Instant, alone: Instant) {
        self.limit = limit
        self.until = until
        self.alone = alone
    }

    /// Before the first answer.
    package static var nothing: ShareAllowance {
        ShareAllowance(limit: 0, until: .zero, alone: .zero)
    }
}

// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// One answer that a server owes, in the order in which it will come.
///
/// Trivial on purpose: it is copied for every message. What must be undone if the server skips the message
/// lies in `ServerStream.undo`, in the same order, for those entries that say so.
package struct Outstanding: Equatable, Sendable {
    package enum Kind: Sendable {
        case parse, bind, describe, close, execute, sync, query, functionCall
    }

    package enum Audience: Sendable {
        /// The client asked, and gets the answer.
        case client
        /// The broker asked, for itself: nothing of the answer passes (but an error of an injected
        /// Parse does: it stands for the client's own message behind it).
        case broker
        /// Nobody asked the server: the broker answers when the turn comes.
        case synthesized
    }

    package var kind: Kind
    package var audience: Audience
    /// Front of `ServerStream.undo` belongs to this one.
    package var hasUndo = false
    /// What its tag SET reaches.
    package var setScope: SetScope = .nothing
    /// It is `ServerStream.pendingSetting`.
    package var isSetting = false
    /// Front of `ServerStream.resets` belongs to this one.
    var hasResets = false
    /// It is about the unnamed statement, and leaves it in doubt if the server skips it.
    package var isAboutUnnamed = false
    /// What few have: in eight bytes an entry goes in one register.
    private var rare: UInt8 = 0

    /// The client ended a copy behind this, before it was known whether the server copies.
    package var isFollowedByCopyEnd: Bool {
        @inline(__always) get { rare & 1 != 0 }
        set { rare = newValue ? rare | 1 : rare & ~1 }
    }

    /// A function that was called in its batch may have put settings back.
    var hidesReset: Bool {
        get { rare & 4 != 0 }
        set { rare = newValue ? rare | 4 : rare & ~4 }
    }

    /// Front of `ClientListening.expected` belongs to this one.
    var isAboutListening: Bool {
        @inline(__always) get { rare & 2 != 0 }
        set { rare = newValue ? rare | 2 : rare & ~2 }
    }

    /// The client asked, and nothing hangs on the answer but what `undo` has of it.
    @inline(__always)
    var isPlain: Bool { audience == .client && !isSetting && !hasResets && rare & 6 == 0 }

    package init(_ kind: Kind, _ audience: Audience) {
        self.kind = kind
        self.audience = audience
    }

    /// The client gave the unnamed statement a new text.
    var isParseOfUnnamed: Bool { isAboutUnnamed && kind == .parse && audience == .client }

    /// The broker has asked what a statement is.
    var isOwnDescribe: Bool { audience == .broker && kind == .describe }

    /// A copy from the client may begin with its answer.
    var mayCopy: Bool { audience == .client && (kind == .execute || kind == .query) }

    /// The server, after an error here, skips everything up to the next Sync.
    package var isExtended: Bool {
        switch kind {
        case .parse, .bind, .describe, .close, .execute: true
        case .sync, .query, .functionCall: false
        }
    }
}

/// What a message changed in the bookkeeping at the moment it was sent, to be put back if the
/// server skips it or refuses it.
package enum Undo: Sendable {
    /// The client closed it.
    case clientClosed([UInt8], ClientStatement)
    /// The server was told to prepare it.
    case serverPrepared(StatementID)
    /// Both, by one Parse of the client that was passed on.
    case named([UInt8], StatementID)
    /// The server was told to describe what the client gave this name to: what it says is learnt.
    case described([UInt8], StatementID)
    /// The server was told to drop it.
    case serverClosed(StatementID, PreparedSet.Copy)
    /// The server was told to drop what nobody uses under this name.
    case supersededClosed([UInt8])
    /// A simple query that names the client's statements.
    case query(QueryNames)
    /// The server was told to drop it, to be told it again: whether it had it was in doubt.
    case serverDropped(StatementID)
    /// Nothing any more.
    case nothing
    /// The server was told it by the client's own name (`ServerStream.BroughtNames`).
    case brought([UInt8])
    /// Nothing; the client's name, for the error that the server will answer with.
    case told([UInt8])
}

/// The names of prepared statements in a simple query that was passed on with the broker's in their place.
package struct QueryNames: Sendable {
    struct Change: Sendable {
        var ours: [UInt8]
        var theirs: [UInt8]
        /// Characters of the passed text in front of it, and by how many it is longer.
        var start: Int
        var growth: Int
    }

    var changes: [Change] = []
    /// For each DEALLOCATE that is to come: what the client had under that name. It is the client's no more
    /// for what is sent behind the query, and comes back if the query ends before it.
    var dropped: [(name: [UInt8], statement: ClientStatement)?] = []
    /// The same, of a DEALLOCATE ALL or a DISCARD ALL.
    var droppedByAll: [(name: [UInt8], statement: ClientStatement)] = []
}

/// What the broker itself asked a server, by simple queries of its own.
package enum BrokerQuery: Sendable {
    case profile, reset, check, rollback, connect
    /// A client's startup settings, which it has reset within its lease.
    case restore
    /// What a client has left in its session.
    case state
    /// Whether the server is what `target_session_attrs` asks for.
    case role
}

/// The answer to what the broker itself asked.
package struct BrokerAnswer {
    package let query: BrokerQuery
    /// By which text failed, from 0 on.
    package let errors: [(text: Int, error: PgError)]
    /// The text that asked for something found it.
    package let hasFound: Bool
    /// The DataRows of `BrokerQuery.state`, whole messages.
    package let rows: [UInt8]

    package var error: PgError? { errors.first?.error }
}

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
    /// The named statement that it is about.
    var statement: StatementID?
    /// Its tag SET leaves nothing behind (SET LOCAL and the like).
    package var setsLocally = false
    /// It is `ServerStream.pendingSetting`.
    package var isSetting = false
    /// What its tag RESET means.
    package var reset = SettingsReset.perhapsAll
    /// It is about the unnamed statement, and leaves it in doubt if the server skips it.
    package var isAboutUnnamed = false
    /// The client ended a copy behind this, before it was known whether the server copies.
    package var isFollowedByCopyEnd = false

    package init(_ kind: Kind, _ audience: Audience) {
        self.kind = kind
        self.audience = audience
    }

    init(_ kind: Kind, about statement: StatementID) {
        self.init(kind, .client)
        self.statement = statement
    }

    /// The client gave the unnamed statement a new text.
    var isParseOfUnnamed: Bool { isAboutUnnamed && kind == .parse && audience == .client }

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

/// How many settings went back to the server's defaults.
package enum SettingsReset: Int, Sendable {
    case none, one
    /// Not known: one or all, for good or until a rollback.
    case perhapsAll
    case all
}

/// What a message changed in the bookkeeping at the moment it was sent, to be put back if the
/// server skips it or refuses it.
package enum Undo: Sendable {
    /// The client gave this name to this statement.
    case clientNamed([UInt8], StatementID)
    /// The client closed it.
    case clientClosed([UInt8], StatementID)
    /// The server was told to prepare it.
    case serverPrepared(StatementID)
    /// Both, by one Parse of the client that was passed on.
    case named([UInt8], StatementID)
    /// The server was told to drop it.
    case serverClosed(StatementID)
    /// The server was told to drop it, to be told it again: whether it had it was in doubt.
    case serverDropped(StatementID)
    /// Nothing any more.
    case nothing
    /// Nothing; the client's name, for the error that the server will answer with.
    case duplicate([UInt8])
}

/// What the broker itself asked a server, by a simple query of its own.
package enum BrokerQuery: Sendable {
    case profile, reset, check, rollback, connect
}

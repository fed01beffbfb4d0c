// SPDX-License-Identifier: Apache-2.0

package import LeaseCore

/// pgbouncer's words for what a client does.
package enum ConsoleClientState: String {
    case active, idle, waiting, login

    package init(_ phase: ClientSession.Phase, holdsServer: Bool, isWaiting: Bool) {
        switch phase {
        case .login: self = .login
        case .learning, .awaitingServer: self = .waiting
        case .console: self = .active
        case .ready, .replicating: self = holdsServer ? .active : isWaiting ? .waiting : .idle
        // Told to go; nothing of it counts any more.
        case .closing, .closed: self = .login
        }
    }
}

/// pgbouncer's words for what a server connection does.
package enum ConsoleServerState: String {
    case active, idle, used, tested
    case login = "new"
    case beingCanceled = "being_canceled"

    /// nil: it is on its way out. `isCheckDue`: idle for so long that it is checked before it is granted.
    package init?(_ state: ServerState, isCheckDue: Bool) {
        switch state {
        case .connecting: self = .login
        case .idle: self = isCheckDue ? .used : .idle
        case .validating, .resetting: self = .tested
        case .leased: self = .active
        case .cancelling: self = .beingCanceled
        case .closing: return nil
        }
    }
}

extension RelayMode.Pooling {
    /// As `pool_mode` says it.
    package var name: String {
        switch self {
        case .session: "session"
        case .transaction: "transaction"
        case .statement: "statement"
        }
    }
}

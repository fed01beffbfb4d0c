import BrokerConfiguration
import LeaseCore

/// pgbouncer's words for what a client does.
enum ConsoleClientState: String {
    case active, idle, waiting, login
}

extension ClientConnection {
    var consoleState: ConsoleClientState {
        switch phase {
        case .login: .login
        case .learning, .awaitingServer: .waiting
        case .console: .active
        case .ready: server != nil ? .active : isWaiting ? .waiting : .idle
        // Told to go; nothing of it counts any more.
        case .closing, .closed: .login
        }
    }

    /// How long it has waited for a server; zero if it does not wait.
    func waitingTime(_ now: Instant) -> Duration {
        switch phase {
        case .learning: now - connectedAt
        default: isWaiting ? now - requestedAt : .zero
        }
    }
}

/// pgbouncer's words for what a server connection does.
enum ConsoleServerState: String {
    case active, idle, used, tested
    case login = "new"
    case beingCanceled = "being_canceled"
}

extension Broker {
    /// nil: it is on its way out.
    func consoleState(of server: ServerConnection, _ now: Instant) -> ConsoleServerState? {
        guard let summary = engine.scheduler.summary(of: server.id) else { return nil }
        switch summary.state {
        case .connecting: return .login
        case .idle: return isCheckDue(since: summary.since, now) ? .used : .idle
        case .validating, .resetting: return .tested
        case .leased: return .active
        case .cancelling: return .beingCanceled
        case .closing: return nil
        }
    }

    /// Idle for so long that it is checked before it is granted.
    private func isCheckDue(since: Instant, _ now: Instant) -> Bool {
        settings.serverCheckQuery != nil && since + settings.serverCheckDelay < now
    }
}

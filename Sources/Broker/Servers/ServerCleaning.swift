import BrokerConfiguration
import LeaseCore
import Logging
import PostgresWire

/// Cleaning a connection for its next lease, and what is in force again afterwards.
extension Broker {
    /// What cleans the connections of this pool.
    func cleaning(of pool: Pool) -> Cleaning {
        Cleaning(
            resetQuery: settings.serverResetQuery, connectQuery: pool.entry.connectQuery,
            seed: Double.random(in: -1...1), dropsLinks: pool.hasLinks)
    }

    func reset(_ server: ServerConnection) {
        let cleaning = cleaning(of: server.pool)
        guard !cleaning.texts.isEmpty else {
            // Nothing may clean it, by configuration: what was left stays.
            server.lastUsed = now
            server.mustReset = false
            post(.resetSucceeded(server.id, profile: server.profile))
            return
        }
        server.cleaning = cleaning
        server.resetDeadline = now + Self.resetTimeout
        housekeeping(by: now + Self.resetTimeout)
        ask(server, .reset, cleaning.texts, probe: cleaning.probe)
    }

    func resetAnswered(_ server: ServerConnection, _ answer: BrokerAnswer) {
        server.lastUsed = now
        guard let cleaning = server.cleaning else {
            preconditionFailure("a reset was answered that was not sent")
        }
        server.cleaning = nil
        // Who may not even ask for connections of dblink has none.
        let errors = answer.errors.filter {
            $0.text != cleaning.links || $0.error.sqlState != .insufficientPrivilege
        }
        if let failed = errors.first {
            resetFailed(server, cleaning, failed.text, failed.error)
        } else if server.stream.status != .idle {
            post(.resetFailed(server.id))
        } else if findsLinks(server, answer.hasFound) {
            reset(server)
        } else {
            resetDone(server)
        }
    }

    /// True if the database has dblink, which was not known: what ends its connections is still to be sent.
    func findsLinks(_ server: ServerConnection, _ hasFound: Bool) -> Bool {
        guard hasFound else { return false }
        server.pool.hasLinks = true
        return true
    }

    private func resetFailed(
        _ server: ServerConnection, _ cleaning: Cleaning, _ text: Int, _ error: PgError
    ) {
        if server.stream.status == .idle {
            if text == cleaning.links {
                // The extension was dropped, perhaps.
                server.pool.hasLinks = false
                if mayTryAgain(server, nil) {
                    reset(server)
                    return
                }
            } else if mayTryAgain(server, error) {
                reset(server)
                return
            }
        }
        let what = text == cleaning.connect ? "connect_query" : "server_reset_query"
        logger.warning(
            "\(what) failed",
            metadata: [
                "server.id": "\(server.id)", "sqlstate": "\(error.sqlState.rawValue)",
                "reason": "\(error.message)",
            ])
        noteResetFailure(server, what, error)
        post(.resetFailed(server.id))
    }

    /// Whether a query of the broker's own is sent again: a time-out that an earlier client set, or a cancel
    /// that came late, cut it short.
    func mayTryAgain(_ server: ServerConnection, _ error: PgError?) -> Bool {
        guard error == nil || error?.sqlState == .queryCanceled, server.attempts < Self.attemptLimit
        else { return false }
        server.attempts += 1
        return true
    }

    private static let attemptLimit = 3

    /// The session is as new, but for this profile if it was put in force again.
    func resetDone(_ server: ServerConnection, with restored: ProfileID? = nil) {
        // Where nothing cleans, the last profile is still in force.
        let isComplete = settings.serverResetQuery?.isEmpty == false
        let profile = restored ?? (isComplete ? server.startupProfile : server.profile)
        server.lastUsed = now
        server.mustReset = false
        server.attempts = 0
        server.hasLostProfile = false
        profiles.retain(profile)
        profiles.release(server.profile)
        server.profile = profile
        server.parameters = server.pool.parameters(for: profile, reported: server.parameters)
        post(.resetSucceeded(server.id, profile: profile))
    }

    // MARK: Within a lease

    /// A client's RESET and DISCARD ALL go back to what it started with, as on a connection of its own, and not
    /// to the server's defaults; nor do they take away what `connect_query` put in force. True if its next
    /// message waits for that.
    func restoreStartup(
        _ step: ServerStep, _ server: ServerConnection, _ client: ClientSession
    ) -> Bool {
        noteResets(step, server)
        let resets = server.resets.final + server.resets.open
        let stream = server.stream
        guard !resets.isEmpty, stream.isBetweenBatches, stream.status != .failed,
            !server.holdsClientBytes, server.outbound.isEmpty,
            !client.stream.passing.isHalfPassed,
            !stream.isLeaseOver(passing: client.stream.passing, server.mode)
        else { return false }
        server.resets = ServerConnection.Resets()
        var texts: [String] = []
        if stream.status == .idle, let query = server.pool.entry.connectQuery {
            texts.append(query)
        }
        if server.pool.mode.pooling != .session {
            let settings = ProfileSetup.statements(
                for: profiles.entries(of: client.startupProfile).filter { entry in
                    resets.contains { $0.covers(entry.name) }
                })
            if !settings.isEmpty {
                texts.append(
                    stream.status == .idle
                        ? ProfileSetup.block(settings) : settings.joined(separator: ";"))
            }
        }
        guard !texts.isEmpty else { return false }
        server.holdsClientBytes = true
        ask(server, .restore, texts)
        return true
    }

    private func noteResets(_ step: ServerStep, _ server: ServerConnection) {
        if step.sessionWasReset {
            if server.pool.entry.connectQuery != nil { server.mustReset = true }
            server.resets.final += server.resets.open + step.freshResets
            server.resets.open = []
        } else if server.stream.status == .idle {
            // It was rolled back.
            server.resets.open = []
        }
        server.resets.open += step.openResets
    }

    func restoreAnswered(_ server: ServerConnection, _ error: PgError?) {
        server.holdsClientBytes = false
        server.hasLostProfile = false
        guard let client = server.client else {
            endLeaseIfOver(server)
            return
        }
        if var error {
            error.severity = .fatal
            refuse(client, error)
            return
        }
        client.awaitsQuiet = false
        queueToResume(client)
        endLeaseIfOver(server)
    }
}

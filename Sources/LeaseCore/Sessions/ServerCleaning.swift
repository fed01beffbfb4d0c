// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Cleaning a connection for its next lease, and what is in force again afterwards.
extension Engine {
    /// What cleans the connections of this pool.
    func cleaning(of pool: PoolSlot) -> Cleaning {
        // 53 bits of chance, from -1 to 1.
        let chance = Double(world.randomNumber() >> 11) / Double(1 << 53)
        return Cleaning(
            resetQuery: settings.serverResetQuery, connectQuery: pools[pool].terms.connectQuery,
            seed: chance * 2 - 1, dropsLinks: pools[pool].hasLinks)
    }

    /// What a client left on it is still being found out.
    package func isFindingOut(_ server: ServerID) -> Bool { servers[server].recovery.isUnknown }

    /// The scheduler wants it clean.
    mutating func clean(_ server: ServerID) {
        placeEnds(on: server)
        if servers[server].recovery.isUnknown {
            recover(server)
        } else if servers[server].facts.isDoubted {
            askForRole(server)
        } else {
            reset(server)
        }
    }

    mutating func reset(_ server: ServerID) {
        let cleaning = cleaning(of: servers[server].pool)
        guard !cleaning.texts.isEmpty else {
            // Nothing may clean it, by configuration: what was left stays.
            servers[server].moments.lastUsed = now
            servers[server].upkeep.mustReset = false
            post(.resetSucceeded(server, profile: servers[server].profile.current))
            return
        }
        servers[server].upkeep.cleaning = cleaning
        mustAnswer(server, within: resetTimeout)
        ask(server, .reset, cleaning.texts, probe: cleaning.probe)
    }

    /// A query of the broker's own has so long.
    mutating func mustAnswer(_ server: ServerID, within time: Duration) {
        servers[server].upkeep.deadline = now + time
        look(at: server, by: now + time)
    }

    /// How long a reset query may take before its connection is given up. A check has the time of
    /// a connect, which it stands for.
    private var resetTimeout: Duration { .seconds(10) }

    /// Sends `server_check_query`.
    mutating func validate(_ server: ServerID) {
        mustAnswer(server, within: settings.serverConnectTimeout ?? resetTimeout)
        let query = settings.serverCheckQuery ?? ""
        if query.isEmpty || !profiles.hasTimeouts(servers[server].profile.current) {
            ask(server, .check, [query])
        } else {
            // The time-outs of the client that had it last are none of the check's.
            ask(
                server, .check,
                [
                    "BEGIN ISOLATION LEVEL READ COMMITTED;SET LOCAL statement_timeout TO 0", query,
                    "END",
                ])
        }
    }

    mutating func cleaningAnswered(_ server: ServerID, _ answer: BrokerAnswer) {
        servers[server].moments.lastUsed = now
        guard let cleaning = servers[server].upkeep.cleaning else {
            preconditionFailure("a reset was answered that was not sent")
        }
        servers[server].upkeep.cleaning = nil
        // Who may not even ask for connections of dblink has none.
        let errors = answer.errors.filter {
            $0.text != cleaning.links || $0.error.sqlState != .insufficientPrivilege
        }
        if let failed = errors.first {
            resetFailed(server, cleaning, failed.text, failed.error)
        } else if servers[server].stream.status != .idle {
            post(.resetFailed(server))
        } else if findsLinks(server, answer.hasFound) {
            reset(server)
        } else {
            resetDone(server)
        }
    }

    /// True if the database has dblink, which was not known: what ends its connections is still to be sent.
    mutating func findsLinks(_ server: ServerID, _ hasFound: Bool) -> Bool {
        guard hasFound else { return false }
        pools[servers[server].pool].hasLinks = true
        return true
    }

    private mutating func resetFailed(
        _ server: ServerID, _ cleaning: Cleaning, _ text: Int, _ error: PgError
    ) {
        if servers[server].stream.status == .idle {
            if text == cleaning.links {
                // The extension was dropped, perhaps.
                pools[servers[server].pool].hasLinks = false
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
        notices.append(.cleaningFailed(server, what: what, error))
        post(.resetFailed(server))
    }

    /// Whether a query of the broker's own is sent again: a time-out that an earlier client set, or a cancel
    /// that came late, cut it short.
    mutating func mayTryAgain(_ server: ServerID, _ error: PgError?) -> Bool {
        guard error == nil || error?.sqlState == .queryCanceled,
            servers[server].profile.attempts < 3
        else { return false }
        servers[server].profile.attempts += 1
        return true
    }

    /// The session is as new, but for this profile if it was put in force again.
    mutating func resetDone(_ server: ServerID, with restored: ProfileID? = nil) {
        // Where nothing cleans, the last profile is still in force.
        let isComplete = settings.serverResetQuery?.isEmpty == false
        let profile =
            restored
            ?? (isComplete ? servers[server].profile.startup : servers[server].profile.current)
        servers[server].moments.lastUsed = now
        servers[server].upkeep.mustReset = false
        if isComplete { servers[server].lastClient = nil }
        servers[server].profile.attempts = 0
        profiles.retain(profile)
        profiles.release(servers[server].profile.current)
        servers[server].profile.current = profile
        learnParameters(of: server, under: profile)
        post(.resetSucceeded(server, profile: profile))
    }

    // MARK: Within a lease

    /// A client's RESET and DISCARD ALL go back to what it started with, as on a connection of its own, and not
    /// to the server's defaults; nor do they take away what `connect_query` put in force. True if its next
    /// message waits for that.
    mutating func restoreStartup(
        _ step: borrowing ServerStep, _ server: ServerID, _ client: ClientID
    ) -> Bool {
        noteResets(step, server)
        // Where the lease ends, that is seen to with what else it leaves.
        guard
            !servers[server].stream.isLeaseOver(
                passing: clients[client].stream.passing, mode(of: server))
        else { return false }
        return restoreStartup(server, client)
    }

    /// The same, with what was noted before.
    mutating func restoreStartup(_ server: ServerID, _ client: ClientID) -> Bool {
        guard let noted = servers[server].resets else { return false }
        let resets = noted.final + noted.open
        guard !resets.isEmpty, servers[server].stream.isBetweenBatches,
            servers[server].stream.status != .failed,
            !servers[server].profile.holdsClientBytes, servers[server].outbound.isEmpty,
            !clients[client].stream.passing.isHalfPassed
        else { return false }
        noted.final = []
        noted.open = []
        let texts = textsOfStartup(resets, server, client)
        guard !texts.isEmpty else { return false }
        servers[server].profile.holdsClientBytes = true
        // In force is neither what was there before nor the server's defaults, and a rollback may undo it.
        servers[server].stream.leaveUnknown()
        ask(server, .restore, texts)
        return true
    }

    private func textsOfStartup(
        _ resets: [SettingsReset], _ server: ServerID, _ client: ClientID
    ) -> [String] {
        let pool = servers[server].pool
        let isIdle = servers[server].stream.status == .idle
        var texts: [String] = []
        if isIdle, let query = pools[pool].terms.connectQuery { texts.append(query) }
        guard !pools[pool].isSession else { return texts }
        let reported = servers[server].profile.parameters
        let base = pools[pool].parameters.base
        let statements = ProfileSetup.statements(
            for: profiles.entries(of: clients[client].settings.startup).filter { entry in
                let name = CanonicalParameter.canonicalName(entry.name)
                // What was set behind the reset is what it is.
                let isSet = base.map { $0.value(of: name) != reported.value(of: name) } ?? false
                return !isSet && SettingsReset.putsBack(entry.name, in: resets)
            })
        if !statements.isEmpty {
            texts.append(
                isIdle ? ProfileSetup.block(statements) : statements.joined(separator: ";"))
        }
        return texts
    }

    private mutating func noteResets(_ step: borrowing ServerStep, _ server: ServerID) {
        if step.sessionWasReset {
            if pools[servers[server].pool].terms.connectQuery != nil {
                servers[server].upkeep.mustReset = true
            }
            let resets = servers[server].resetsToChange()
            resets.final += resets.open + step.freshResets
            resets.open = []
        } else if servers[server].stream.status == .idle {
            // It was rolled back.
            servers[server].resets?.open = []
        }
        if !step.openResets.isEmpty { servers[server].resetsToChange().open += step.openResets }
    }

    mutating func restoreAnswered(_ server: ServerID, _ error: PgError?) {
        servers[server].profile.holdsClientBytes = false
        servers[server].resets?.hasLostProfile = false
        guard let client = servers[server].client else {
            endLeaseIfOver(server)
            return
        }
        if let error {
            refuse(client, error)
            return
        }
        clients[client].flags.awaitsQuiet = false
        queueToResume(client)
        endLeaseIfOver(server)
    }
}

// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// Putting a client's settings in force on the server that it was given.
extension Engine {
    /// In one write with the client's first message if this pool has accepted the profile before, else alone, so
    /// that nothing runs under other settings than it asked for.
    mutating func preparePrelude(_ server: ServerID, _ client: ClientID) {
        let wanted = clients[client].settings.current
        let pool = servers[server].pool
        if servers[server].profile.cleansFirst {
            cleanFirst(server, client)
            return
        }
        let dropsSequences = servers[server].profile.first == .dropsSequences
        if dropsSequences, servers[server].profile.current == wanted {
            sendAhead([Self.dropSequences], server, wanted)
            return
        }
        let setup = profiles.setup(from: servers[server].profile.current, to: wanted)
        let isAccepted = pools[pool].parameters.accepts(wanted) || wanted == .serverDefault
        let mustRunConnectQuery = setup.reset != nil && pools[pool].terms.connectQuery != nil
        guard isAccepted, !setup.mustBeAwaited, !mustRunConnectQuery else {
            putProfileInForce(server, client)
            return
        }
        sendAhead(
            [setup.inOneText] + (dropsSequences ? [Self.dropSequences] : []), server, wanted)
    }

    private mutating func sendAhead(
        _ texts: [String], probe: Int? = nil, _ server: ServerID, _ wanted: ProfileID
    ) {
        profiles.retain(wanted)
        servers[server].profile.pending = wanted
        servers[server].profile.attempts = 0
        var bytes: [UInt8] = []
        servers[server].stream.ask(.profile, texts, probe: probe, into: &bytes)
        servers[server].prelude += bytes
    }

    /// `isolation = strict`: whatever the last client left is cleaned away, in one write with what this one sends
    /// first if all that is known to go well.
    private mutating func cleanFirst(_ server: ServerID, _ client: ClientID) {
        let wanted = clients[client].settings.current
        let pool = servers[server].pool
        let isAccepted = pools[pool].parameters.accepts(wanted) || wanted == .serverDefault
        guard isAccepted, pools[pool].hasProbed, pools[pool].terms.connectQuery == nil else {
            putProfileInForce(server, client)
            return
        }
        let (texts, probe) = cleaningTexts(server, wanted)
        sendAhead(texts, probe: probe, server, wanted)
        forgetStatements(on: server)
    }

    /// DISCARD ALL takes them away: what follows it in the same write must not count on them.
    private mutating func forgetStatements(on server: ServerID) {
        servers[server].stream.prepared.removeAll(in: &statements)
    }

    private mutating func cleaningTexts(
        _ server: ServerID, _ wanted: ProfileID
    ) -> (texts: [String], probe: Int?) {
        let cleaning = cleaning(of: servers[server].pool)
        let settings = ProfileSetup.statements(for: profiles.entries(of: wanted))
        guard cleaning.isComplete else {
            // Nothing cleans, by configuration.
            return (textsOfProfile(server, wanted), nil)
        }
        return (
            cleaning.texts + (settings.isEmpty ? [] : [ProfileSetup.block(settings)]),
            cleaning.probe
        )
    }

    /// Puts the client's profile in force before anything else happens on the server.
    mutating func putProfileInForce(_ server: ServerID, _ client: ClientID) {
        let wanted = clients[client].settings.current
        profiles.retain(wanted)
        servers[server].profile.pending = wanted
        servers[server].profile.holdsClientBytes = true
        servers[server].profile.attempts = 0
        guard servers[server].profile.cleansFirst else {
            ask(server, .profile, textsOfProfile(server, wanted))
            return
        }
        let (texts, probe) = cleaningTexts(server, wanted)
        forgetStatements(on: server)
        ask(server, .profile, texts, probe: probe)
    }

    private func textsOfProfile(_ server: ServerID, _ profile: ProfileID) -> [String] {
        profiles.setup(from: servers[server].profile.current, to: profile).texts(
            connectQuery: pools[servers[server].pool].terms.connectQuery)
            + (servers[server].profile.first == .dropsSequences ? [Self.dropSequences] : [])
    }

    mutating func profileAnswered(_ server: ServerID, _ answer: BrokerAnswer) {
        // Who may not even ask for connections of dblink has none.
        let links =
            servers[server].profile.cleansFirst ? cleaning(of: servers[server].pool).links : nil
        let error = answer.errors.first {
            $0.text != links || $0.error.sqlState != .insufficientPrivilege
        }?.error
        guard let profile = servers[server].profile.pending else {
            preconditionFailure("a profile was answered that was not sent")
        }
        let wasHeld = servers[server].profile.holdsClientBytes
        if let error {
            profileFailed(server, profile, error, wasHeld: wasHeld)
            return
        }
        servers[server].profile.pending = nil
        servers[server].profile.holdsClientBytes = false
        servers[server].profile.attempts = 0
        if servers[server].profile.cleansFirst {
            pools[servers[server].pool].hasProbed = true
            if findsLinks(server, answer.hasFound), wasHeld, let client = servers[server].client {
                profiles.release(profile)
                putProfileInForce(server, client)
                return
            }
        }
        servers[server].profile.first = .nothing
        // The reference is that of `pending`.
        profiles.release(servers[server].profile.current)
        servers[server].profile.current = profile
        pools[servers[server].pool].parameters.accept(profile)
        learnParameters(of: server, under: profile)
        guard wasHeld, let client = servers[server].client else { return }
        // Nothing of the client's own is on its way: if the server dies now, another may have it.
        servers[server].hasSent = false
        if clients[client].phase == .awaitingServer {
            notices.append(.mayBeServed(client))
            return
        }
        guard let call = clients[client].call else {
            queueToResume(client)
            return
        }
        if servers[server].stream.isQuiet { answerLease(server, client, call) }
    }

    /// What it reports is what is reported under this profile.
    mutating func learnParameters(of server: ServerID, under profile: ProfileID) {
        servers[server].profile.parameters = pools[servers[server].pool].parameters.set(
            for: profile, reported: servers[server].profile.parameters)
    }

    /// The client is refused, if its own settings are the reason; what cut the broker's query short is none of
    /// its business.
    private mutating func profileFailed(
        _ server: ServerID, _ profile: ProfileID, _ error: PgError, wasHeld: Bool
    ) {
        if wasHeld, servers[server].client != nil, servers[server].stream.isQuiet,
            mayTryAgain(server, error)
        {
            let texts =
                servers[server].profile.cleansFirst
                ? cleaningTexts(server, profile).texts : textsOfProfile(server, profile)
            // A part that failed has left its transaction open.
            ask(
                server, .profile,
                servers[server].stream.status == .idle ? texts : ["ROLLBACK"] + texts)
            return
        }
        servers[server].profile.pending = nil
        servers[server].profile.holdsClientBytes = false
        profiles.release(profile)
        // How much of it is in force is not known.
        servers[server].stream.leaveUnknown()
        guard let client = servers[server].client else { return }
        if error.sqlState == .queryCanceled {
            serverEnded(server, "its settings could not be put in force: \(error.message)")
            return
        }
        refuse(client, error)
    }

    /// The client learns values that differ from what it was told before.
    mutating func tellNews(_ client: ClientID, _ server: ServerID) {
        guard let told = clients[client].settings.told,
            told !== servers[server].profile.parameters, clients[client].phase == .ready
        else { return }
        let news = servers[server].profile.parameters.news(since: told)
        clients[client].settings.told = servers[server].profile.parameters
        guard !news.isEmpty else { return }
        var bytes: [UInt8] = []
        for parameter in news {
            bytes.appendParameterStatus(name: parameter.name, value: parameter.value)
        }
        bytes.withUnsafeBytes { send($0, to: client) }
    }

    /// What a server will say once this client's profile is in force. `assumed` stands for what no server of its
    /// pool has said yet.
    package func expectedParameters(
        of client: ClientID, in pool: PoolSlot, assumed: @autoclosure () -> ParameterSet
    ) -> ParameterSet {
        let profile = clients[client].settings.current
        if let known = pools[pool].parameters.known(for: profile) { return known }
        let base = pools[pool].parameters.base ?? assumed()
        let version = base.value(of: "server_version")
        let changes: [(name: String, value: String)] = profiles.entries(of: profile)
            .compactMap {
                let name = CanonicalParameter.canonicalName($0.name)
                let before = base.value(of: name)
                guard CanonicalParameter.isReported(name) else {
                    // PostgreSQL 18 reports search_path as it was written; so do servers others.
                    return before == nil ? nil : (name, $0.value)
                }
                let value = CanonicalParameter.value(
                    name: name, value: $0.value, base: before, serverVersion: version)
                return value.map { (name, $0) }
            }
        return base.changing(changes)
    }
}

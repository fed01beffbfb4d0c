// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// A session of a client's own in a pool whose connections are not: what a lease of one transaction has left follows
/// its client to other connections, or keeps it on this one.
///
/// At the end of a lease whose tags or texts hint that something may have been left, one query of the broker's
/// own asks the server (`StateQuestion`). The client still holds the connection, and what it sends meanwhile waits.
extension Engine {
    /// Whether the lease goes on although the protocol says that it is over: something is asked first, or it is pinned.
    @inline(never)
    mutating func keepsLease(_ server: ServerID, _ client: ClientID) -> Bool {
        guard sessionState(of: servers[server].pool) != .drop,
            !pools[servers[server].pool].isSession,
            !servers[server].isExplicit, clients[client].isOpen
        else {
            servers[server].stream.forgetCalls()
            placeEnds(on: server)
            return false
        }
        let taint = servers[server].stream.taint
        // What it reset has not its startup values yet: these are put in force, and then it is asked.
        if let resets = servers[server].resets, !resets.isEmpty || resets.hasLostProfile,
            restoreStartup(server, client)
        {
            return true
        }
        let isPinned = servers[server].pin != nil
        if let listening = clients[client].stream.listening {
            // The hub is about to listen to what its server was found to.
            if !listening.found.isEmpty { return true }
            // What texts have shown of LISTEN has been seen to.
            if taint == .listen, !isPinned {
                placeEnds(on: server)
                return false
            }
        }
        if taint == .localNames, knowsNames(server, client) {
            servers[server].stream.stateIsKnown(residue: servers[server].stream.residue)
            if !isPinned { placeEnds(on: server) }
            return isPinned
        }
        guard mustAsk(taint, isPinned: isPinned) else {
            if !isPinned { placeEnds(on: server) }
            return isPinned
        }
        askForState(server, client)
        return true
    }

    /// Whether the client's profile has all that its transaction set for itself alone: the names are there wherever
    /// it goes.
    private func knowsNames(_ server: ServerID, _ client: ClientID) -> Bool {
        guard let names = servers[server].stream.settingNames?.names else { return true }
        guard names.isComplete else { return false }
        let entries = profiles.entries(of: clients[client].settings.current)
        for name in names.names where name.utf8.contains(UInt8(ascii: ".")) {
            if !entries.contains(where: { $0.name == name }) { return false }
        }
        return true
    }

    private func mustAsk(_ taint: SessionTaint, isPinned: Bool) -> Bool {
        if taint.has(.explicitLease) { return false }
        return taint.leavesSomething || taint.has(.localNames)
            || (isPinned && taint.has(.removal))
    }

    private mutating func askForState(_ server: ServerID, _ client: ClientID) {
        let question = question(server, client)
        servers[server].profile.holdsClientBytes = true
        mustAnswer(server, within: stateTimeout)
        // One that failed has left its transaction open.
        ask(
            server, .state,
            servers[server].stream.status == .idle ? [question.text] : ["ROLLBACK", question.text])
    }

    private func question(_ server: ServerID, _ client: ClientID) -> StateQuestion {
        var classNames = pools[servers[server].pool].classNames
        for name in pools[servers[server].pool].functions.classNames
        where !classNames.contains(name) {
            classNames.append(name)
        }
        for entry in profiles.entries(of: clients[client].settings.current)
        where entry.name.utf8.contains(UInt8(ascii: ".")) && !classNames.contains(entry.name) {
            classNames.append(entry.name)
        }
        return StateQuestion(
            about: servers[server].stream.taint, names: settingNames(server),
            classNames: classNames,
            functions: pools[servers[server].pool].functions.unknown(
                among: servers[server].stream.doubtedCalls?.names ?? []),
            brought: servers[server].stream.brought?.names ?? [],
            isPinned: servers[server].pin != nil)
    }

    private func settingNames(_ server: ServerID) -> SettingNames? {
        guard let noted = servers[server].stream.settingNames else { return nil }
        var names = noted.names
        if !noted.areAllInForce { names.leaveOpen() }
        return names
    }

    /// Whether its client has something in the session that would be lost with it.
    func hasState(_ server: ServerID) -> Bool {
        if servers[server].isExplicit { return false }
        return servers[server].pin != nil
            || (sessionState(of: servers[server].pool) != .drop
                && servers[server].stream.taint.leavesSomething
                && !pools[servers[server].pool].isSession)
    }

    /// How long the answer may take before the connection is given up.
    private var stateTimeout: Duration { .seconds(10) }

    mutating func stateAnswered(_ server: ServerID, _ answer: BrokerAnswer) {
        servers[server].profile.holdsClientBytes = false
        guard let client = servers[server].client else {
            endLeaseIfOver(server)
            return
        }
        if let error = answer.error {
            if mayTryAgain(server, error) {
                askForState(server, client)
            } else if servers[server].stream.settingNames?.names.isComplete == true {
                // One of the names may not be looked at: the list leaves such out.
                servers[server].stream.leaveSettingsOpen()
                askForState(server, client)
            } else {
                // What it holds cannot be found out, and is not dropped in silence.
                refuse(client, error)
            }
            return
        }
        guard let state = StateAnswer(rows: answer.rows) else {
            serverEnded(server, "the answer to the broker's own query could not be read")
            return
        }
        servers[server].profile.attempts = 0
        if learnFunctions(state, server) {
            askForState(server, client)
            return
        }
        let names = question(server, client).names
        var pins = state.pins
        pins.formUnion(followSettings(state, names, server, client))
        let brought = servers[server].stream.brought?.names ?? []
        followBrought(state, server, client)
        pins.formUnion(followStatements(state.statements, client))
        pins.formUnion(unseenPins(server))
        noteClassNames(state, server)
        servers[server].stream.stateIsKnown(residue: residue(state, pins, server))
        pin(server, client, pins)
        guard servers.contains(server), servers[server].client == client else { return }
        if servers[server].profile.current != clients[client].settings.current {
            putProfileInForce(server, client)
            return
        }
        if servers[server].pin != nil {
            let kept = brought.filter { state.kept.contains($0) }
            if dropOfSQL(state.statements.map(\.name) + kept, server) { return }
        } else if clients[client].stream.listening?.founding == nil,
            channelsFound(state.channels, on: server, of: client)
        {
            servers[server].stream.stillListens()
            // It goes on meanwhile: there may be no connection for the hub before it does.
            clients[client].flags.awaitsQuiet = false
            queueToResume(client)
            return
        }
        clients[client].flags.awaitsQuiet = false
        queueToResume(client)
        endLeaseIfOver(server)
        if servers.contains(server), pools[servers[server].pool].areLeasesWatched {
            noteRest(server)
        }
    }

    /// On a connection that its client keeps, what follows it under another name must not take its own.
    private mutating func dropOfSQL(
        _ prepared: [[UInt8]], _ server: ServerID
    ) -> Bool {
        guard !prepared.isEmpty, servers[server].pin?.reasons.contains(.statements) == false
        else { return false }
        let texts = prepared.compactMap { String(validating: $0, as: UTF8.self) }
            .map { "DEALLOCATE \(quotedIdentifier($0))" }
        guard texts.count == prepared.count else { return false }
        servers[server].profile.holdsClientBytes = true
        mustAnswer(server, within: stateTimeout)
        ask(server, .restore, texts)
        return true
    }

    // MARK: What follows

    /// The client's profile is what the server has in force. Returns what of it cannot follow.
    private mutating func followSettings(
        _ state: borrowing StateAnswer, _ names: [String]?, _ server: ServerID, _ client: ClientID
    ) -> PinReasons {
        let before = profiles.entries(of: clients[client].settings.current)
        var entries: [ProfileEntry] = []
        if let names {
            entries = before.filter {
                !names.contains($0.name) && !ProfileSetup.identity.contains($0.name)
            }
        }
        let named = servers[server].stream.settingNames?.names.names ?? []
        for setting in state.settings {
            // What another client's transaction left of a name that this one never used: nothing.
            let isRemnant =
                setting.value.isEmpty && setting.name.utf8.contains(UInt8(ascii: "."))
                && !named.contains(setting.name) && !before.contains { $0.name == setting.name }
            if !isRemnant { entries.append(setting) }
        }
        let isConnected = pools[servers[server].pool].terms.connectQuery != nil
        // `connect_query` may have set another.
        if let role = state.role ?? (isConnected ? "none" : nil) {
            entries.append(ProfileEntry(name: "role", value: role))
        }
        if let own = pools[servers[server].pool].parameters.base?.value(
            of: "session_authorization"), own != state.sessionUser
        {
            entries.append(
                ProfileEntry(name: ProfileSetup.sessionUser, value: state.sessionUser))
        }
        if entries.count > followedLimit { return .settings }
        let profile = profiles.intern(entries)
        if names == nil {
            // What is not set any more was reset: to what it was in the client's startup packet.
            let startup = profiles.entries(of: clients[client].settings.startup)
            for entry in startup
            where !ProfileSetup.withoutEffect.contains(entry.name) && entry.name != "seed"
                && entry.name != "role"
                && !entries.contains(where: { $0.name == entry.name })
            {
                entries.append(entry)
            }
        }
        let wanted = profiles.intern(entries)
        profiles.release(clients[client].settings.current)
        clients[client].settings.current = wanted
        profiles.release(servers[server].profile.current)
        servers[server].profile.current = profile
        pools[servers[server].pool].parameters.accept(profile)
        if profile != .serverDefault {
            let reported = servers[server].profile.parameters
            learnParameters(of: server, under: profile)
            if clients[client].settings.told === reported {
                clients[client].settings.told = servers[server].profile.parameters
            }
        }
        return []
    }

    /// A client with more settings than this keeps its connection.
    private var followedLimit: Int { 256 }

    /// Names of classes that have a value somewhere: later questions ask for them, too.
    private mutating func noteClassNames(_ state: borrowing StateAnswer, _ server: ServerID) {
        let pool = servers[server].pool
        for setting in state.settings
        where setting.name.utf8.contains(UInt8(ascii: ".")) && pools[pool].classNames.count < 256 {
            if !pools[pool].classNames.contains(setting.name) {
                pools[pool].classNames.append(setting.name)
            }
        }
    }

    /// True if there is more to ask: what a function calls, or may set, is known only now.
    private mutating func learnFunctions(
        _ state: borrowing StateAnswer, _ server: ServerID
    ) -> Bool {
        let memo = pools[servers[server].pool].functions
        // CREATE FUNCTION is among what this stands for; DROP and ALTER cannot make one harmful.
        if servers[server].stream.taint.has(.temporaryObjects),
            servers[server].stream.doubtedCalls?.rounds ?? 0 == 0
        {
            memo.forget()
        }
        memo.forgetIfOld(now)
        guard let calls = servers[server].stream.doubtedCalls, !state.functions.isEmpty else {
            return false
        }
        for (name, isOpaque, others) in state.functions {
            memo.learn(name, isOpaque: isOpaque, calls: others, now: now)
        }
        memo.settle()
        noteReaders(server)
        let hasNames = memo.learn(classNames: state.classNames)
        calls.rounds += 1
        // Functions that call others, which call others: more than a few levels are left to the next time.
        return calls.rounds < 5 && (hasNames || !memo.unknown(among: calls.names).isEmpty)
    }

    // MARK: What pins

    /// What no query shows: it stays until the client leaves.
    private func unseenPins(_ server: ServerID) -> PinReasons {
        var pins: PinReasons = []
        if let pin = servers[server].pin {
            pins = pin.reasons.intersection([.seed, .libraries, .links])
        }
        let taint = servers[server].stream.taint
        if taint.has(.libraries) { pins.formUnion(.libraries) }
        if taint.has(.links) { pins.formUnion(.links) }
        if taint.has(.seed)
            || servers[server].stream.settingNames?.names.names.contains("seed") == true
        {
            pins.formUnion(.seed)
        }
        return pins
    }

    /// What must be cleaned away when the client lets go, though all is known of it.
    private func residue(
        _ state: borrowing StateAnswer, _ pins: PinReasons, _ server: ServerID
    ) -> SessionTaint {
        let taint = servers[server].stream.taint
        var residue = servers[server].stream.residue
        for one in [SessionTaint.other, .preparedStatements, .listen] where taint.has(one) {
            residue.formUnion(one)
        }
        // What of it `connect_query` had set is not told apart: it runs again.
        if pools[servers[server].pool].terms.connectQuery != nil {
            residue.formUnion(.harmlessSettings)
        }
        // Whatever made them.
        if !state.statements.isEmpty { residue.formUnion(.preparedStatements) }
        if !state.channels.isEmpty { residue.formUnion(.listen) }
        // No profile has what cannot follow: nothing but a cleaning takes it away.
        for (reason, left) in Self.leftBy where pins.contains(reason) { residue.formUnion(left) }
        return residue
    }

    private static let leftBy: [(PinReasons, SessionTaint)] = [
        (.temporaryObjects, .temporaryObjects), (.heldCursors, .cursors),
        (.advisoryLocks, .advisoryLocks), (.settings, .settings), (.seed, .seed),
        (.libraries, .libraries), (.links, .links), (.channels, .listen),
        (.statements, .preparedStatements),
    ]

    private mutating func pin(_ server: ServerID, _ client: ClientID, _ reasons: PinReasons) {
        guard !reasons.isEmpty else {
            if servers[server].pin != nil {
                servers[server].pin = nil
                servers[server].stream.ownProcess = nil
                notices.append(.leaseUnpinned(report(on: server)))
            }
            placeEnds(on: server)
            return
        }
        if let pin = servers[server].pin {
            pin.reasons = reasons
            return
        }
        guard mayBePinned(server, client, reasons) else { return }
        let pin = ServerSession.Pin(reasons, since: now)
        servers[server].pin = pin
        servers[server].stream.ownProcess = ServerStream.OwnProcess(
            backend: servers[server].facts.backendProcessID, told: processID(toldTo: client))
        notices.append(.leasePinned(report(on: server), reasons))
        guard settings.pinNotice, !clients[client].flags.wasToldOfPin else { return }
        clients[client].flags.wasToldOfPin = true
        var bytes: [UInt8] = []
        bytes.appendNoticeResponse(LeaseErrors.pinned(reasons))
        bytes.withUnsafeBytes { send($0, to: client) }
    }
}

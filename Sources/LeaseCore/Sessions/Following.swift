// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What a client changed by statements of its own goes with it from server to server.
extension Engine {
    mutating func follow(_ step: borrowing ServerStep, _ server: ServerID, _ client: ClientID) {
        let before = servers[server].profile.parameters
        let reported = before.changing(step.changedParameters)
        servers[server].profile.parameters = reported
        // What else differs from what the client was told is still news to it.
        let told = clients[client].settings.told ?? before
        let passed = told === before ? reported : told.changing(step.changedParameters)
        clients[client].settings.told = passed.changing(step.restoredParameters)
        // What an explicit lease sets ends with it.
        guard !pools[servers[server].pool].isSession, !servers[server].isExplicit else { return }
        if !mayBeItsOwn(step, server) {
            learnReload(server, client, passed)
            return
        }
        let wasInForce = servers[server].profile.current == clients[client].settings.current
        let isFollowed = followProfile(step, server, client)
        // What was asked behind it may have changed something, too: then it is cleaned away.
        if isFollowed, wasInForce, step.queries == 1, !servers[server].stream.isOwing,
            step.followedSetting != nil
        {
            claimSetting(server, client)
        }
        if step.sessionWasReset, !servers[server].stream.taint.leavesSomething {
            profiles.release(servers[server].profile.current)
            servers[server].profile.current = .serverDefault
        }
    }

    /// Whether what is reported may come of something that the client asked for. A reload of PostgreSQL's configuration is
    /// reported behind the next answer, whoever is given that: it is nobody's setting.
    private func mayBeItsOwn(_ step: borrowing ServerStep, _ server: ServerID) -> Bool {
        !servers[server].stream.taint.isEmpty || step.followedSetting != nil || step.sessionWasReset
            || !step.resets.isEmpty || !step.openResets.isEmpty || !step.restoredParameters.isEmpty
    }

    /// Who logs in from now on is told what a new connection would be.
    private mutating func learnReload(
        _ server: ServerID, _ client: ClientID, _ passed: ParameterSet
    ) {
        guard servers[server].profile.current == .serverDefault else { return }
        learnParameters(of: server, under: .serverDefault)
        if clients[client].settings.told === passed {
            clients[client].settings.told = servers[server].profile.parameters
        }
    }

    /// Gives the client the profile that it wants in force after the step; false if it would be too large.
    private mutating func followProfile(
        _ step: borrowing ServerStep, _ server: ServerID, _ client: ClientID
    ) -> Bool {
        let tracked = step.changedParameters.filter { isTracked($0.name.lowercased()) }
        guard !tracked.isEmpty || step.followedSetting != nil || step.sessionWasReset else {
            return true
        }
        let startup = profiles.entries(of: clients[client].settings.startup)
        var entries = profiles.entries(of: clients[client].settings.current)
        // What else the step tells of was asked behind the setting.
        if case .set(let name, let value)? = step.followedSetting {
            // One that is reported may differ from what was written, and still be what it was.
            let reported = servers[server].profile.parameters.value(
                of: CanonicalParameter.canonicalName(name))
            entries.removeAll { $0.name == name }
            entries.append(ProfileEntry(name: name, value: reported ?? value))
        }
        for reset in step.resets {
            switch reset {
            case .one(let name):
                entries.removeAll { $0.name == name || reset.covers($0.name) }
                entries += startup.filter { $0.name == name || reset.covers($0.name) }
            case .all:
                entries =
                    startup.filter { reset.covers($0.name) }
                    + entries.filter { !reset.covers($0.name) }
            // Of those that are reported the server says whether they went back; the others stay.
            case .unknown, .overridden, .hidden, .sets:
                break
            }
        }
        for (name, value) in tracked {
            let key = name.lowercased()
            // Also in a transaction that may be rolled back: what a reset reports is nothing that the client set.
            let wasReset =
                step.resets.contains { $0 == .unknown || $0.covers(key) }
                || step.openResets.contains { $0 == .unknown || $0.covers(key) }
            entries.removeAll { $0.name == key }
            // The client's own default is that of its startup packet.
            if step.restoredParameters.contains(where: { $0.name == name }) {
                entries += startup.filter { $0.name == key }
            } else if wasReset,
                value == pools[servers[server].pool].parameters.base?.value(of: name)
            {
                entries += startup.filter { $0.name == key }
            } else {
                entries.append(ProfileEntry(name: key, value: value))
            }
        }
        guard entries.count <= max(followedLimit, startup.count) else { return false }
        let profile = profiles.intern(entries)
        profiles.release(clients[client].settings.current)
        clients[client].settings.current = profile
        return true
    }

    /// The server has in force what the client has: nothing to clean away.
    private mutating func claimSetting(_ server: ServerID, _ client: ClientID) {
        let profile = clients[client].settings.current
        servers[server].stream.claimSetting()
        profiles.retain(profile)
        profiles.release(servers[server].profile.current)
        servers[server].profile.current = profile
        pools[servers[server].pool].parameters.accept(profile)
        guard !servers[server].stream.taint.leavesSomething, profile != .serverDefault else {
            return
        }
        let before = servers[server].profile.parameters
        learnParameters(of: server, under: profile)
        if clients[client].settings.told === before {
            clients[client].settings.told = servers[server].profile.parameters
        }
    }

    /// A client with more settings than this loses further ones with its lease.
    private var followedLimit: Int { 64 }

    /// Whether the setting, its name in lower case, follows however it was changed.
    private func isTracked(_ name: String) -> Bool {
        switch name {
        case "client_encoding", "datestyle", "timezone", "standard_conforming_strings",
            "application_name", "intervalstyle":
            true
        default:
            settings.trackedParameters.contains(name)
        }
    }
}

import BrokerConfiguration
import LeaseCore
import PostgresWire

/// What a client changed by statements of its own goes with it from server to server.
extension Broker {
    func follow(_ step: borrowing ServerStep, _ server: ServerConnection, _ client: ClientSession) {
        server.parameters = server.parameters.changing(step.changedParameters)
        client.told = server.parameters.changing(step.restoredParameters)
        // What an explicit lease sets ends with it.
        guard server.pool.mode.pooling != .session, server.explicit == nil else { return }
        let wasInForce = server.profile == client.profile
        let isFollowed = followProfile(step, server, client)
        // What was asked behind it may have changed something, too: then it is cleaned away.
        if isFollowed, wasInForce, step.queries == 1, !server.stream.isOwing,
            step.followedSetting != nil
        {
            claimSetting(server, client)
        }
        if step.sessionWasReset, server.stream.taint.isEmpty {
            profiles.release(server.profile)
            server.profile = .serverDefault
        }
    }

    /// Gives the client the profile that it wants in force after the step; false if it would be too large.
    private func followProfile(
        _ step: borrowing ServerStep, _ server: ServerConnection, _ client: ClientSession
    ) -> Bool {
        let tracked = step.changedParameters.filter { isTracked($0.name.lowercased()) }
        guard !tracked.isEmpty || step.followedSetting != nil || step.sessionWasReset else {
            return true
        }
        let startup = profiles.entries(of: client.startupProfile)
        var entries = profiles.entries(of: client.profile)
        // What else the step tells of was asked behind the setting.
        if case .set(let name, let value)? = step.followedSetting {
            // One that is reported may differ from what was written, and still be what it was.
            let reported = server.parameters.value(of: CanonicalParameter.canonicalName(name))
            entries.removeAll { $0.name == name }
            entries.append(ProfileEntry(name: name, value: reported ?? value))
        }
        for reset in step.resets {
            switch reset {
            case .one(let name):
                entries.removeAll { $0.name == name }
                entries += startup.filter { $0.name == name }
            case .all:
                entries = startup
            // Of those that are reported the server says whether they went back; the others stay.
            case .unknown:
                break
            }
        }
        for (name, value) in tracked {
            let key = name.lowercased()
            let wasReset = step.resets.contains { $0 == .unknown || $0.covers(key) }
            entries.removeAll { $0.name == key }
            // The client's own default is that of its startup packet.
            if step.restoredParameters.contains(where: { $0.name == name }) {
                entries += startup.filter { $0.name == key }
            } else if wasReset, value == server.pool.baseParameters?.value(of: name) {
                entries += startup.filter { $0.name == key }
            } else {
                entries.append(ProfileEntry(name: key, value: value))
            }
        }
        guard entries.count <= max(Self.followedLimit, startup.count) else { return false }
        let profile = profiles.intern(entries)
        profiles.release(client.profile)
        client.profile = profile
        return true
    }

    /// The server has in force what the client has: nothing to clean away.
    private func claimSetting(_ server: ServerConnection, _ client: ClientSession) {
        let profile = client.profile
        server.stream.claimSetting()
        profiles.retain(profile)
        profiles.release(server.profile)
        server.profile = profile
        server.pool.accept(profile)
        guard server.stream.taint.isEmpty, profile != .serverDefault else { return }
        server.parameters = server.pool.parameters(for: profile, reported: server.parameters)
        client.told = server.parameters
    }

    /// A client with more settings than this loses further ones with its lease.
    private static let followedLimit = 64

    /// Whether the setting, its name in lower case, follows however it was changed.
    private func isTracked(_ name: String) -> Bool {
        switch name {
        case "client_encoding", "datestyle", "timezone", "standard_conforming_strings",
            "application_name", "intervalstyle":
            true
        default:
            settings.trackExtraParameters.contains { $0.lowercased() == name }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore

/// Groups that come, change and go with their clients.
extension Broker {
    /// By its name; without one, by what the kernel calls its program, which is known at once.
    func group(for client: ClientConnection) -> ClientGroup {
        let name =
            client.applicationName.isEmpty
            ? client.process?.name ?? "" : client.applicationName
        let assignment = configured.loaded.configuration.groups.assignment(
            forApplication: name, database: client.database)
        return directory.groups[assignment.name]
            ?? openGroup(assignment.name, Self.policy(of: assignment.entry))
    }

    private func openGroup(_ name: String, _ policy: GroupPolicy) -> ClientGroup {
        let isConfigured = configuration.groups.contains { !$0.isTemplate && $0.name == name }
        let (group, isKnown) = directory.groups.open(name, policy, isConfigured: isConfigured)
        post(isKnown ? .groupChanged(group.id, policy) : .groupOpened(group.id, policy))
        return group
    }

    func leave(_ group: ClientGroup) {
        group.members -= 1
        closeIfUnused(group)
    }

    /// The last member of a group has left, and no guarantee of a line of its own keeps it.
    func closeIfUnused(_ group: ClientGroup) {
        guard group.members == 0 else { return }
        if group.policy.minLeases > 0 {
            let isKept = configuration.groups.contains { !$0.isTemplate && $0.name == group.name }
            if isKept { return }
            group.policy = GroupPolicy()
            post(.groupChanged(group.id, group.policy))
        }
        directory.groups.close(group)
    }

    func reconfigure(_ group: ClientGroup) {
        let entry = configuration.groups.first {
            $0.isTemplate ? $0.match.matches(group.name) : $0.name == group.name
        }
        let policy = Self.policy(of: entry)
        guard policy != group.policy else { return }
        group.policy = policy
        post(.groupChanged(group.id, policy))
    }

    /// Groups with a guarantee exist before their first client: their connections are kept for them.
    func openGuaranteedGroups() {
        for entry in configuration.groups where entry.minLeases > 0 && !entry.isTemplate {
            guard directory.groups[entry.name] == nil else { continue }
            _ = openGroup(entry.name, Self.policy(of: entry))
        }
    }

    private static func policy(of entry: GroupEntry?) -> GroupPolicy {
        guard let entry else { return GroupPolicy() }
        return GroupPolicy(
            weight: entry.weight, minLeases: entry.minLeases, maxLeases: entry.maxLeases,
            maxPins: entry.maxPins)
    }
}

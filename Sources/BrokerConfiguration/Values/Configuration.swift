// SPDX-License-Identifier: Apache-2.0

/// All that the broker is told to do: the settings, and the lines of `[databases]`, `[users]` and
/// `[groups]`. A value: a reload makes a new one and swaps it whole.
package struct Configuration: Equatable, Sendable {
    /// The name of the main section; decides the defaults.
    package var flavour = ConfigurationFlavour.pglease
    package var settings = Settings()
    /// What is given for settings of pgbouncer's that have no effect here; SHOW CONFIG has them.
    package var replaced: [String: String] = [:]
    /// In the order of the file, each name once.
    package var databases: [DatabaseEntry] = []
    package var users: [UserEntry] = []
    /// In the order of the file, which is the order in which they are tried.
    package var groups: [GroupEntry] = []
    package var peers: [PeerEntry] = []

    package init() {}

    /// The entry for a database that a client named, or the fallback `*`.
    package func database(named name: String) -> DatabaseEntry? { databases.named(name) }

    package func peer(_ id: Int) -> PeerEntry? { peers.first { $0.peerID == id } }

    package func user(named name: String) -> UserEntry? {
        users.first { $0.name == name }
    }

    /// The group of a client: the first matching line; without one, its application_name.
    package func group(
        forApplication applicationName: String, database: String
    ) -> GroupAssignment {
        groups.assignment(forApplication: applicationName, database: database)
    }

    package static func load(
        _ sources: ConfigurationSources
    ) throws(ConfigurationError) -> LoadedConfiguration {
        var loader = ConfigurationLoader(sources: sources)
        return try loader.load()
    }
}

// Of the lines alone: a question for each login must not copy all that is configured.

extension [DatabaseEntry] {
    /// The entry for a database that a client named, or the fallback `*`.
    package func named(_ name: String) -> DatabaseEntry? {
        first { $0.name == name && !$0.isFallback } ?? first(where: \.isFallback)
    }
}

extension [GroupEntry] {
    /// The group of a client: the first matching line; without one, its application_name.
    package func assignment(
        forApplication applicationName: String, database: String
    ) -> GroupAssignment {
        guard
            let entry = first(where: {
                $0.applies(toApplication: applicationName, database: database)
            })
        else { return GroupAssignment(name: applicationName, entry: nil) }
        return GroupAssignment(
            name: entry.isTemplate ? applicationName : entry.name, entry: entry)
    }
}

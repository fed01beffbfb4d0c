// SPDX-License-Identifier: Apache-2.0

/// One setting of the main section: its name, how it is written, and where it lives.
///
/// The parser, the environment's names, SHOW CONFIG, the reload diff and the test of
/// `config/pglease.ini` all read this table, so a setting exists in one place.
package struct SettingDescription: Sendable {
    package let name: String
    package let kind: SettingKind
    /// Takes effect on reload; otherwise it needs a restart.
    package let changeable: Bool
    /// pglease's default, as it would be written.
    package let defaultText: String
    /// What pgbouncer starts with where that differs; nil where it is the same or unknown to it.
    package let pgbouncerDefaultText: String?
    package let summary: String

    package let assign: @Sendable (String, inout Settings) throws(SettingValueError) -> Void
    let text: @Sendable (Settings) -> String

    /// The value in force, as it would be written in the file.
    package func text(in settings: Settings) -> String { text(settings) }

    package func defaultText(for flavour: ConfigurationFlavour) -> String {
        switch flavour {
        case .pglease: defaultText
        case .pgbouncer: pgbouncerDefaultText ?? defaultText
        }
    }

    init<Value: Sendable>(
        _ name: String,
        _ property: any WritableKeyPath<Settings, Value> & Sendable,
        _ syntax: ValueSyntax<Value>,
        pgbouncer: String? = nil,
        needsRestart: Bool = false,
        _ summary: String
    ) {
        self.name = name
        self.kind = syntax.kind
        self.changeable = !needsRestart
        self.defaultText = syntax.render(Settings()[keyPath: property])
        self.pgbouncerDefaultText = pgbouncer
        self.summary = summary
        self.assign = { text, settings throws(SettingValueError) in
            settings[keyPath: property] = try syntax.parse(text)
        }
        self.text = { settings in syntax.render(settings[keyPath: property]) }
    }
}

/// Settings that belong together; a heading of `config/pglease.ini`.
package struct SettingGroup: Sendable {
    package let title: String
    package let settings: [SettingDescription]
}

extension Settings {
    package static let groups: [SettingGroup] = [
        SettingGroup(title: "Where clients come in", settings: listenSettings),
        SettingGroup(title: "Who may come in", settings: authenticationSettings),
        SettingGroup(title: "Encryption towards clients", settings: clientTLSSettings),
        SettingGroup(title: "Sizes", settings: sizeSettings),
        SettingGroup(title: "Deadlines of clients and leases", settings: deadlineSettings),
        SettingGroup(title: "What sessions hold", settings: sessionSettings),
        SettingGroup(title: "Connections to PostgreSQL", settings: serverSettings),
        SettingGroup(title: "Encryption towards PostgreSQL", settings: serverTLSSettings),
        SettingGroup(title: "Start and end", settings: lifecycleSettings),
        SettingGroup(title: "Protocol", settings: protocolSettings),
        SettingGroup(title: "Log", settings: logSettings),
        SettingGroup(title: "The process", settings: processSettings),
        SettingGroup(title: "Monitoring", settings: monitoringSettings),
        SettingGroup(title: "Network", settings: networkSettings),
    ]

    /// Every setting with an effect, in the order of the documentation.
    package static let all: [SettingDescription] = groups.flatMap(\.settings)

    package static let byName: [String: SettingDescription] = Dictionary(
        uniqueKeysWithValues: all.map { ($0.name, $0) })
}

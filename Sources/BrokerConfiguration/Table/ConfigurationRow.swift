// SPDX-License-Identifier: Apache-2.0

/// A row of SHOW CONFIG.
package struct ConfigurationRow: Equatable, Sendable {
    package let key: String
    package let value: String
    /// The column is called `default`.
    package let defaultValue: String
    package let changeable: Bool

    /// The last column as pgbouncer writes it.
    package var changeableText: String { changeable ? "yes" : "no" }
}

extension Configuration {
    /// SHOW CONFIG, in alphabetical order as pgbouncer's, and with every key of it.
    package var showConfigRows: [ConfigurationRow] {
        var rows = Settings.all.map {
            ConfigurationRow(
                key: $0.name, value: $0.text(in: settings),
                defaultValue: $0.defaultText(for: flavour), changeable: $0.changeable)
        }
        for (name, setting) in ReplacedSetting.byName where name != "service_name" {
            rows.append(
                ConfigurationRow(
                    key: name, value: replaced[name] ?? setting.defaultText,
                    defaultValue: setting.defaultText, changeable: setting.changeable))
        }
        return rows.sorted { $0.key < $1.key }
    }

    /// Whether it is a setting of ours or of pgbouncer's.
    package static func isSetting(_ name: String) -> Bool {
        Settings.byName[name] != nil || ReplacedSetting.byName[name] != nil
    }

    /// SET of a setting of pgbouncer's that has no effect here. Returns what there is to say about it; nil for a
    /// setting that has an effect.
    package mutating func setReplaced(
        _ name: String, _ value: String
    ) throws(SettingValueError) -> [ConfigurationIssue]? {
        guard let setting = ReplacedSetting.byName[name] else { return nil }
        guard setting.changeable else {
            throw SettingValueError(
                "needs a restart", advice: "change the configuration file and restart")
        }
        var errors: [ConfigurationIssue] = []
        var warnings: [ConfigurationIssue] = []
        setting.judge(value, origin: .defaults, errors: &errors, warnings: &warnings)
        if let error = errors.first {
            throw SettingValueError(error.reason, advice: error.advice)
        }
        replaced[name] = value
        return warnings
    }
}

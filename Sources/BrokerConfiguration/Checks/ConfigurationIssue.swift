// SPDX-License-Identifier: Apache-2.0

/// Where a value comes from.
package enum SettingOrigin: Equatable, Hashable, Sendable {
    case defaults
    case file(path: String, line: Int)
    /// The variable's name.
    case environment(String)
    /// The option's name, as `--set`.
    case commandLine(String)
}

extension SettingOrigin: CustomStringConvertible {
    package var description: String {
        switch self {
        case .defaults: "default"
        case .file(let path, let line): line > 0 ? "\(path):\(line)" : path
        case .environment(let name): name
        case .commandLine(let option): option
        }
    }
}

/// One thing that is wrong with a configuration, or worth a warning: where, what, and what to do.
///
/// Its text never holds the value of a password.
package struct ConfigurationIssue: Equatable, Sendable {
    package var origin: SettingOrigin
    /// The setting, or "databases.app.port" for a key of a line; nil for the file as such.
    package var setting: String?
    package var reason: String
    package var advice: String?

    package init(
        _ origin: SettingOrigin, _ setting: String? = nil, _ reason: String,
        advice: String? = nil
    ) {
        self.origin = origin
        self.setting = setting
        self.reason = reason
        self.advice = advice
    }
}

extension ConfigurationIssue: CustomStringConvertible {
    /// `pglease.ini:12: pool_mode: "foo" is not one of session, transaction, statement`
    package var description: String {
        var text = origin == .defaults ? "" : "\(origin): "
        if let setting { text += "\(setting): " }
        text += reason
        if let advice { text += " (\(advice))" }
        return text
    }
}

/// Everything that is wrong with a configuration, at once, in the order it was met.
package struct ConfigurationError: Error, Equatable, CustomStringConvertible {
    /// Never empty.
    package let issues: [ConfigurationIssue]
    /// What would have been warned about.
    package let warnings: [ConfigurationIssue]

    package init(issues: [ConfigurationIssue], warnings: [ConfigurationIssue]) {
        self.issues = issues
        self.warnings = warnings
    }

    package var description: String {
        issues.map(\.description).joined(separator: "\n")
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What a configuration is read from, and how; a value, so that a reload reads the same again.
///
/// What comes later in this list wins: defaults, file, environment, command line.
package struct ConfigurationSources: Sendable {
    /// `--config`.
    package var file: String?
    package var environment: [String: String]
    /// `--set name=value`, in order.
    package var overrides: [SettingOverride]
    /// `--database-url`.
    package var databaseURL: String?
    /// `--embedded`: a database is added afterwards, so none has to be named.
    package var databasesComeLater = false

    /// Returns the bytes of a whole file.
    package var readFile: @Sendable (String) throws(FileReadError) -> [UInt8]
    /// Returns whether a socket can be made in a folder.
    package var canUseFolder: @Sendable (String) -> Bool

    package init(
        file: String? = nil, environment: [String: String] = [:],
        overrides: [SettingOverride] = [], databaseURL: String? = nil,
        readFile: @escaping @Sendable (String) throws(FileReadError) -> [UInt8],
        canUseFolder: @escaping @Sendable (String) -> Bool
    ) {
        self.file = file
        self.environment = environment
        self.overrides = overrides
        self.databaseURL = databaseURL
        self.readFile = readFile
        self.canUseFolder = canUseFolder
    }
}

/// One `--set`.
package struct SettingOverride: Equatable, Sendable {
    package var name: String
    package var value: String
    /// The option as the user wrote it, for messages.
    package var option: String

    package init(name: String, value: String, option: String = "--set") {
        self.name = name
        self.value = value
        self.option = option
    }

    /// `name=value`; nil when there is no name or no `=`.
    package init?(argument: String) {
        guard let equals = argument.firstIndex(of: "="), equals != argument.startIndex else {
            return nil
        }
        self.init(
            name: String(argument[..<equals].trimmedBlanks),
            value: String(argument[equals...].dropFirst().trimmedBlanks))
    }
}

/// Why a file could not be read.
package struct FileReadError: Error, Equatable {
    package let reason: String

    package init(_ reason: String) { self.reason = reason }

    /// There is no such file, in the words of ENOENT.
    var isMissing: Bool { reason.hasPrefix("No such file") }
}

/// A configuration that passed every check, with what the console and the log say about it.
package struct LoadedConfiguration: Sendable {
    package var configuration: Configuration
    /// Where each setting that is not at its default was set.
    package var origins: [String: SettingOrigin]
    /// Settings without effect, doubtful combinations.
    package var warnings: [ConfigurationIssue]
    /// Every file that was read, in order: the configuration, what it includes, secrets, auth_file.
    package var files: [String]
    /// The text of `auth_file`, read in the same go so that a reload swaps both or neither.
    package var userListText: Secret?
    /// What is said of an `auth_file` that is not there, where that keeps nobody from starting.
    package var missingUserList: ConfigurationIssue?
    /// Differs, within one process, when a file of `server_tls_*` has other contents.
    package var serverTLSFingerprint = 0

    package func origin(of setting: String) -> SettingOrigin { origins[setting] ?? .defaults }
}

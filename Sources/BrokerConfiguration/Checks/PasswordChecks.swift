// SPDX-License-Identifier: Apache-2.0

/// A server password comes from one place.
extension ConfigurationLoader {
    mutating func checkPasswords() {
        let settings = configuration.settings
        checkPassword(
            settings.passwordCommand, settings.passwordFile, nil, "password_file",
            origins["password_file"])
        for entry in configuration.databases {
            checkPassword(
                entry.passwordCommand, entry.passwordFile, entry.password,
                "databases.\(entry.name).password_file", databaseOrigins[entry.name])
        }
        for entry in configuration.users {
            checkPassword(
                entry.passwordCommand, entry.passwordFile, nil,
                "users.\(entry.name).password_file", userOrigins[entry.name])
        }
    }

    private mutating func checkPassword(
        _ command: String?, _ file: String?, _ password: Secret?, _ setting: String,
        _ origin: SettingOrigin?
    ) {
        let given = [
            ("password", password != nil), ("password_command", command != nil),
            ("password_file", file != nil),
        ].filter(\.1).map(\.0)
        guard given.count > 1 else { return }
        errors.append(
            ConfigurationIssue(
                origin ?? .defaults, setting,
                "\(given.joined(separator: " and ")) are given together",
                advice: "say one of them"))
    }
}

// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BrokerConfiguration

/// Configurations from texts instead of files.
enum ConfigurationFixture {
    /// Sources whose file is `pglease.ini`, with whatever else `files` holds beside it.
    static func sources(
        _ text: String? = nil, files: [String: String] = [:], environment: [String: String] = [:],
        set: [String] = [], databaseURL: String? = nil
    ) -> ConfigurationSources {
        var contents = files.mapValues { Array($0.utf8) }
        if let text { contents["pglease.ini"] = Array(text.utf8) }
        return sources(contents, environment: environment, set: set, databaseURL: databaseURL)
    }

    static func sources(
        _ contents: [String: [UInt8]], environment: [String: String] = [:], set: [String] = [],
        databaseURL: String? = nil
    ) -> ConfigurationSources {
        ConfigurationSources(
            file: contents["pglease.ini"] == nil ? nil : "pglease.ini", environment: environment,
            overrides: set.compactMap { SettingOverride(argument: $0) }, databaseURL: databaseURL,
            readFile: { path throws(FileReadError) in
                guard let bytes = contents[path] else {
                    throw FileReadError("No such file or directory")
                }
                return bytes
            },
            canUseFolder: { _ in false })
    }

    /// The configuration of a text that must be right; `databases` is there to be a database.
    static func load(
        _ text: String, files: [String: String] = [:], environment: [String: String] = [:],
        set: [String] = []
    ) throws -> LoadedConfiguration {
        try Configuration.load(
            sources(text, files: files, environment: environment, set: set))
    }

    /// A `[pglease]` section with one database.
    static func settings(_ lines: String) throws -> LoadedConfiguration {
        try load("[databases]\n* = host=/run\n[pglease]\n" + lines)
    }

    /// What is wrong with the sources, line by line; empty when nothing is.
    static func errors(_ sources: ConfigurationSources) -> [String] {
        do throws(ConfigurationError) {
            _ = try Configuration.load(sources)
            return []
        } catch {
            return error.issues.map(\.description)
        }
    }

    static func errors(_ text: String, files: [String: String] = [:]) -> [String] {
        errors(sources(text, files: files))
    }
}

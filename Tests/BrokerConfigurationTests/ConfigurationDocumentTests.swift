// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import BrokerConfiguration

/// `config/pglease.ini` says what the table says.
@Suite struct ConfigurationDocumentTests {
    private struct Documented: Equatable {
        let name: String
        let value: String
        let explanation: String
    }

    private static var path: String {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        return parts.dropLast(3).joined(separator: "/") + "/config/pglease.ini"
    }

    private func text() throws -> String {
        try String(contentsOfFile: Self.path, encoding: .utf8)
    }

    /// The ";name = value" lines of the main section, with the comment above each.
    private func documented() throws -> [Documented] {
        var result: [Documented] = []
        var explanation: [Substring] = []
        var inMainSection = false
        for line in try text().split(separator: "\n", omittingEmptySubsequences: false) {
            if line == "[pglease]" { inMainSection = true }
            guard inMainSection else { continue }
            if line.hasPrefix("; ") {
                explanation.append(line.dropFirst(2))
            } else if line.hasPrefix(";"), let equals = line.firstIndex(of: "=") {
                result.append(
                    Documented(
                        name: String(line[..<equals].dropFirst().trimmedBlanks),
                        value: String(line[equals...].dropFirst().trimmedBlanks),
                        explanation: explanation.joined(separator: " ")))
                explanation = []
            } else {
                explanation = []
            }
        }
        return result
    }

    @Test func everySettingWithItsDefaultInTheTablesOrder() throws {
        let documented = try documented()
        #expect(documented.map(\.name) == Settings.all.map(\.name))
        for (line, setting) in zip(documented, Settings.all) {
            #expect(line.value == setting.defaultText, "\(setting.name)")
            #expect(line.explanation.count > 10, "\(setting.name) is not explained")
            #expect(
                line.explanation.contains("[restart]") == !setting.changeable, "\(setting.name)")
            if let other = setting.pgbouncerDefaultText {
                #expect(line.explanation.contains("[pgbouncer: \(other)]"), "\(setting.name)")
            } else {
                #expect(!line.explanation.contains("[pgbouncer:"), "\(setting.name)")
            }
        }
    }

    @Test func everyHeadingIsThere() throws {
        let text = try text()
        for group in Settings.groups {
            #expect(text.contains("; ---- \(group.title) ---"), "\(group.title)")
        }
    }

    /// As it is, and with every line of an example or default in force.
    @Test(arguments: [false, true])
    func theFileIsRight(uncommented: Bool) throws {
        let lines = try text().split(separator: "\n", omittingEmptySubsequences: false).map {
            line in
            let isExample = line.hasPrefix(";") && !line.hasPrefix("; ") && line.contains(" = ")
            let isEmptyDefault = line.hasPrefix(";") && line.hasSuffix(" =")
            return uncommented && (isExample || isEmptyDefault) ? line.dropFirst() : line
        }
        let sources = ConfigurationFixture.sources(
            lines.joined(separator: "\n"), environment: ["DATABASE_URL": "postgresql://h/d"])
        let loaded = try Configuration.load(sources)
        #expect(loaded.warnings.isEmpty)
        var expected = Settings()
        expected.unixSocketDir = "/tmp"
        #expect(loaded.configuration.settings == expected)
        if uncommented {
            #expect(
                loaded.configuration.databases.map(\.name) == ["app", "reports", "odd name", "*"])
            #expect(loaded.configuration.users.map(\.name) == ["reporting"])
            #expect(loaded.configuration.groups.map(\.name) == ["backfill", "pipeline-*", "web"])
            #expect(loaded.configuration.databases[2].connectQuery == "SET ROLE 'reader'")
        }
    }
}

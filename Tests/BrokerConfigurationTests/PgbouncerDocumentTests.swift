// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import BrokerConfiguration

/// `docs/pgbouncer.md` says of each setting of pgbouncer's what the table says.
@Suite struct PgbouncerDocumentTests {
    /// Setting to verdict and reason.
    private func documented() throws -> [(name: String, verdict: String, reason: String)] {
        let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        let path = parts.dropLast(3).joined(separator: "/") + "/docs/pgbouncer.md"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        let section = try #require(text.split(separator: "\n## Settings\n").last)
        return section.split(separator: "\n").prefix { $0 != "## Lines" }.compactMap { line in
            let cells = line.split(separator: "|", omittingEmptySubsequences: false).map {
                $0.trimmingCharacters(in: .whitespaces)
            }
            guard cells.count == 5, cells[1].hasPrefix("`") else { return nil }
            return (cells[1].filter { $0 != "`" }, cells[2], cells[3])
        }
    }

    @Test func everySettingOfPgbouncerOnceAndNoOther() throws {
        let names = try documented().map(\.name)
        #expect(names == ConfigurationPgbouncerTests.settings.map(\.0).sorted())
    }

    @Test func whatHasNoEffectIsAbsentAndNothingElse() throws {
        for (name, verdict, reason) in try documented() {
            #expect(["same", "better", "different", "absent"].contains(verdict), "\(name)")
            #expect((verdict == "absent") == (ReplacedSetting.byName[name] != nil), "\(name)")
            #expect(verdict == "same" || !reason.isEmpty, "\(name)")
        }
    }

    @Test func whatStartsFromAnotherDefaultSaysSo() throws {
        let reasons = Dictionary(
            uniqueKeysWithValues: try documented().map { ($0.name, $0.reason) })
        for setting in Settings.all {
            guard let other = setting.pgbouncerDefaultText, other != setting.defaultText,
                let reason = reasons[setting.name], setting.kind != .text
            else { continue }
            #expect(reason.contains("pglease"), "\(setting.name)")
        }
    }
}

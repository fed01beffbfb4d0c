// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BrokerConfiguration

private typealias Fixture = ConfigurationFixture

@Suite struct ConfigurationChangesTests {
    private func changes(_ old: String, _ new: String) throws -> [String] {
        let before = try Fixture.load(old).configuration
        let after = try Fixture.load(new).configuration
        return before.changes(to: after).map(\.description)
    }

    @Test func nothingChanged() throws {
        let text = "[databases]\na = host=x password=p\n[groups]\ng = weight=2\n"
        #expect(try changes(text, text).isEmpty)
        #expect(try changes(text, text + "[pglease]\npool_mode = transaction\n").isEmpty)
    }

    @Test func settings() throws {
        #expect(
            try changes(
                "[databases]\n* =\n",
                "[databases]\n* =\n[pglease]\ndefault_pool_size = 20\nlisten_port = 1\n"
                    + "query_timeout = 200ms\n") == [
                    "listen_port: \"6432\" -> \"1\", needs a restart",
                    "default_pool_size: \"10\" -> \"20\"",
                    "query_timeout: \"0\" -> \"0.2\"",
                ])
    }

    @Test func linesComeGoAndChange() throws {
        #expect(
            try changes(
                "[databases]\na = host=x pool_size=1 password=one\nb =\n[users]\nu = pool_size=1\n",
                "[databases]\na = host=y password=two timezone=UTC\nc = user=q password=three\n"
                    + "[users]\nu = pool_size=2\n[groups]\ng = max_leases=3\n") == [
                    "databases.a.host: \"x\" -> \"y\"",
                    "databases.a.password: \"***\" -> \"***\"",
                    "databases.a.pool_size: removed",
                    "databases.a.timezone: added (UTC)",
                    "databases.b: removed",
                    "databases.c: added (dbname=c user=q password=***)",
                    "users.u.pool_size: \"1\" -> \"2\"",
                    "groups.g: added (match=g weight=1 min_leases=0 max_leases=3 max_pins=0)",
                ])
    }

    @Test func orderOfGroupsMatters() throws {
        #expect(
            try changes(
                "[databases]\n* =\n[groups]\na* =\nab* =\n",
                "[databases]\n* =\n[groups]\nab* =\na* =\n") == [
                    "groups: \"a*, ab*\" -> \"ab*, a*\""
                ])
    }

    /// Each setting, given another value, is one change: none is missed by the diff.
    @Test func everySettingIsCompared() throws {
        for setting in Settings.all {
            var after = Configuration()
            try setting.assign(ConfigurationChangesTests.other(setting), &after.settings)
            let changes = Configuration().changes(to: after)
            #expect(changes.map(\.name) == [setting.name])
            #expect(changes.first?.needsRestart == !setting.changeable)
        }
    }

    /// A value that is not the default.
    private static func other(_ setting: SettingDescription) -> String {
        if setting.name == "peer_map" { return "a:b" }
        if setting.name.hasSuffix("_tls_protocols") { return "all" }
        switch setting.kind {
        case .boolean: return setting.defaultText == "1" ? "0" : "1"
        case .integer(let range):
            return setting.defaultText == "\(range.upperBound)"
                ? "\(range.lowerBound)" : "\(range.upperBound)"
        case .limit(let range): return "\(range.upperBound)"
        case .number: return "3"
        case .duration, .milliseconds: return "77"
        case .choice(let names): return names.first { $0 != setting.defaultText } ?? ""
        case .octalMode: return "0700"
        case .text, .path, .list: return "/other"
        }
    }

    @Test func showConfig() throws {
        let rows = try Fixture.load(
            "[databases]\n* =\n[pgbouncer]\nlisten_port = 5\nserver_check_query = select 1\n"
        ).configuration.showConfigRows
        #expect(rows.count == Settings.all.count + ReplacedSetting.byName.count - 1)
        #expect(rows.map(\.key) == rows.map(\.key).sorted())
        #expect(
            rows.first { $0.key == "listen_port" }
                == ConfigurationRow(
                    key: "listen_port", value: "5", defaultValue: "6432", changeable: false))
        let query = rows.first { $0.key == "server_check_query" }
        #expect(query?.value == "select 1")
        #expect(query?.defaultValue == "<empty>")
        #expect(query?.changeableText == "yes")
        #expect(rows.first { $0.key == "default_pool_size" }?.defaultValue == "20")
        #expect(rows.first { $0.key == "pkt_buf" }?.changeableText == "no")
        #expect(rows.first { $0.key == "dns_max_ttl" }?.value == "15")
        #expect(rows.first { $0.key == "conffile" }?.value == "pglease.ini")
    }
}

// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@testable import BrokerConfiguration

@Suite struct ConfigurationValueTests {
    @Test(arguments: [
        ("0", Duration.zero), ("30", .seconds(30)), ("0.2", .milliseconds(200)),
        (".5", .milliseconds(500)), ("5.", .seconds(5)), ("200ms", .milliseconds(200)),
        ("200 ms", .milliseconds(200)), ("1.5s", .milliseconds(1500)), ("5min", .seconds(300)),
        ("2h", .seconds(7200)), ("1d", .seconds(86400)), ("100us", .microseconds(100)),
        ("100US", .microseconds(100)), ("0.0000000019", .nanoseconds(1)),
        ("2147483647", .seconds(2_147_483_647)),
    ])
    func durationsRead(text: String, expected: Duration) throws {
        #expect(try DurationText.parse(text) == expected)
    }

    @Test(arguments: [
        "", " ", "-1", "+1", "1.2.3", "ms", ".", "5m", "5 parsecs", "1e3", "0x10", "5;", "٣",
        "2147483648", "99999999999999999999999999", "9223372036854775807h", "1 s s",
    ])
    func notDurations(text: String) {
        #expect(throws: SettingValueError.self) { try DurationText.parse(text) }
    }

    @Test(arguments: [
        Duration.zero, .seconds(3600), .milliseconds(200), .microseconds(1),
        .nanoseconds(123_456_789),
        .seconds(1) + .nanoseconds(1),
    ])
    func durationsRoundTrip(value: Duration) throws {
        #expect(try DurationText.parse(DurationText.render(value)) == value)
        let inMilliseconds = DurationText.render(value, in: .millisecond)
        #expect(try DurationText.parse(inMilliseconds, bareUnit: .millisecond) == value)
    }

    @Test func durationsAreShownInSeconds() {
        #expect(DurationText.render(.milliseconds(200)) == "0.2")
        #expect(DurationText.render(.seconds(90)) == "90")
        #expect(DurationText.render(.seconds(30), in: .millisecond) == "30000")
    }

    @Test(arguments: [
        ("1", true), ("yes", true), ("On", true), ("TRUE", true),
        ("0", false), ("no", false), ("off", false), ("false", false),
    ])
    func booleansRead(text: String, expected: Bool) throws {
        #expect(try SettingText.boolean(text) == expected)
    }

    @Test(arguments: ["", "2", "y", "maybe", "1 ; on"])
    func notBooleans(text: String) {
        #expect(throws: SettingValueError.self) { try SettingText.boolean(text) }
    }

    @Test(arguments: [
        "", "-", "--1", "1x", "0x10", "1.0", " 1", "11", "99999999999999999999", "0x", "+", "010",
        "+-1", "0x-1",
    ])
    func notIntegersUpToTen(text: String) {
        #expect(throws: SettingValueError.self) { try SettingText.integer(text, in: -1...10) }
    }

    @Test func integersRead() throws {
        #expect(try SettingText.integer("-1", in: -1...10) == -1)
        #expect(try SettingText.integer("+10", in: -1...10) == 10)
        #expect(try SettingText.integer("0xA", in: -1...10) == 10)
        #expect(try SettingText.integer("0", in: -1...10) == 0)
        #expect(try SettingText.integer("100001", in: 0...100_000) == 100_000)
    }

    @Test func commentAfterAValueIsExplained() {
        #expect(
            throws: SettingValueError(
                "\"20 ; big\" is not a number, 1 to 100",
                advice: "a comment needs a line of its own")
        ) {
            try SettingText.integer("20 ; big", in: 1...100)
        }
    }

    /// What SHOW CONFIG writes, a file may hold: for every setting, at both sets of defaults.
    @Test(arguments: [ConfigurationFlavour.pglease, .pgbouncer])
    func everyDefaultRoundTrips(flavour: ConfigurationFlavour) throws {
        let settings = Settings(flavour: flavour)
        for setting in Settings.all {
            var copy = settings
            let text = setting.text(in: settings)
            #expect(text == setting.defaultText(for: flavour), "\(setting.name)")
            try setting.assign(text, &copy)
            #expect(copy == settings, "\(setting.name) = \(text)")
        }
    }

    /// Every property is in the table: a value of another kind than the default reaches it.
    @Test func everyPropertyHasASetting() {
        let properties = Mirror(reflecting: Settings()).children.compactMap(\.label)
        let settings = Settings.all.map { setting in
            setting.name.split(separator: "_").enumerated().map { index, word in
                index == 0 ? String(word) : word.prefix(1).uppercased() + word.dropFirst()
            }.joined()
        }
        #expect(Set(properties) == Set(settings))
        #expect(properties.count == settings.count)
    }

    @Test func zeroSwitchesOff() throws {
        var settings = Settings()
        for setting in Settings.all {
            switch setting.kind {
            case .limit, .milliseconds, .duration(zeroIsOff: true):
                try setting.assign("0", &settings)
            default: continue
            }
            #expect(setting.text(in: settings) == "0")
        }
        #expect(settings.queryWaitTimeout == nil)
        #expect(settings.serverLifetime == nil)
        #expect(settings.sbufLoopcnt == nil)
        #expect(settings.tcpUserTimeout == nil)
    }

    @Test func settingsOfTheirOwnKind() throws {
        let settings = try ConfigurationFixture.settings(
            """
            server_check_query =
            server_reset_query =
            unix_socket_dir = none
            unix_socket_mode = 0600
            listen_addr = 127.0.0.1, ::1 ,,
            tcp_user_timeout = 250
            peer_map = www-data:app, root : *
            server_tls_protocols = tlsv1.3, tlsv1.2
            startup_factor = 2
            pool_mode = Statement
            auth_type = trust
            """
        ).configuration.settings
        #expect(settings.serverCheckQuery == nil)
        #expect(settings.serverResetQuery == nil)
        #expect(settings.unixSocketDir == nil)
        #expect(settings.unixSocketMode == 0o600)
        #expect(settings.listenAddr == ["127.0.0.1", "::1"])
        #expect(settings.tcpUserTimeout == .milliseconds(250))
        #expect(settings.peerMap[0].allows(systemUser: "www-data", userID: 33, role: "app"))
        #expect(!settings.peerMap[0].allows(systemUser: "www-data", userID: 33, role: "postgres"))
        #expect(settings.peerMap[1].allows(systemUser: "root", userID: 0, role: "anybody"))
        #expect(settings.serverTlsProtocols == .secure)
        #expect(settings.startupFactor == 2)
        #expect(settings.poolMode == .statement)
    }

    @Test(
        arguments: [
            ("secure", "TLSv1.2", nil), ("all", "TLSv1", nil), ("tlsv1.2", "TLSv1.2", "TLSv1.2"),
            ("tlsv1.1, tlsv1.2", "TLSv1.1", "TLSv1.2"), ("tlsv1.3", "TLSv1.3", nil),
        ] as [(String, String, String?)])
    func tlsProtocols(text: String, minimum: String, maximum: String?) throws {
        let syntax = ValueSyntax<TLSProtocols>.tlsProtocols
        let value = try syntax.parse(text)
        #expect(value == TLSProtocols(minimum: minimum, maximum: maximum))
        #expect(try syntax.parse(syntax.render(value)) == value)
        #expect(try ValueSyntax<TLSProtocols>.tlsSpan.parse(text) == value)
    }

    @Test(
        arguments: [
            ("tlsv1.0,tlsv1.3", ["TLSv1", "TLSv1.3"]),
            ("all:!tlsv1.0", ["TLSv1.1", "TLSv1.2", "TLSv1.3"]),
            ("all, !tlsv1.2", ["TLSv1", "TLSv1.1", "TLSv1.3"]),
            ("tlsv1,! TLSv1.3", ["TLSv1", "TLSv1.1", "TLSv1.2"]),
        ])
    func tlsProtocolsAsALibraryOfOpenBSDNamesThem(text: String, versions: [String]) throws {
        let syntax = ValueSyntax<TLSProtocols>.tlsProtocols
        let value = try syntax.parse(text)
        #expect(value.versions == versions)
        #expect(try syntax.parse(syntax.render(value)) == value)
        #expect(
            (try? ValueSyntax<TLSProtocols>.tlsSpan.parse(text)) == (value.hasGap ? nil : value))
    }

    @Test(arguments: ["sslv3", "tlsv1.4", "!all", "secure, !tlsv1.2, !tlsv1.3", "tlsv1.2 tlsv1.3"])
    func tlsProtocolsThatAreNone(text: String) {
        #expect(throws: SettingValueError.self) {
            try ValueSyntax<TLSProtocols>.tlsProtocols.parse(text)
        }
    }

    @Test(arguments: [
        ("*", "", true), ("*", "anything", true), ("a*", "b", false), ("a*c", "abbc", true),
        ("a*c", "abcd", false), ("a?c", "abc", true), ("a?c", "ac", false), ("?", "ü", true),
        ("", "", true), ("", "a", false), ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaa", false),
        ("pipeline-*", "pipeline-7", true), ("plain", "plain", true), ("plain", "plainer", false),
    ])
    func globs(pattern: String, candidate: String, expected: Bool) {
        #expect(GlobPattern(pattern).matches(candidate) == expected)
    }

    @Test func nearestNames() {
        let names = Settings.all.map(\.name)
        #expect(NearestName.of("pool_mod", among: names) == "pool_mode")
        #expect(NearestName.of("Listen-Port", among: names) == "listen_port")
        #expect(NearestName.of("max_client_conns", among: names) == "max_client_conn")
        #expect(NearestName.of("favourite_colour", among: names) == nil)
        #expect(NearestName.of("", among: names) == nil)
    }
}

// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// Which settings are reported as following their client, and what stays a taint.
@Suite struct RelaySettingTests {
    private func done(_ relay: inout RelayFixture, _ tag: String = "SET") -> ServerStep {
        relay.step {
            $0.appendCommandComplete(tag)
            $0.appendReadyForQuery(.idle)
        }
    }

    @Test(arguments: [
        ("set a.b = 'c'", "SET"), ("select set_config('a.b', 'c', false)", "SELECT 1"),
    ]) func aSettingAloneIsReportedAndCleanOnceClaimed(_ text: String, _ tag: String) {
        for isSplit in [false, true] {
            var relay = RelayFixture()
            relay.send { $0.appendQuery(text) }
            if isSplit {
                #expect(relay.step { $0.appendCommandComplete(tag) }.followedSetting == nil)
            }
            let step =
                isSplit ? relay.step { $0.appendReadyForQuery(.idle) } : done(&relay, tag)
            #expect(step.followedSetting == .set(name: "a.b", value: "c"))
            #expect(relay.isLeaseOver)
            #expect(relay.server.conditionOnReturn == .dirty)
            relay.server.claimSetting()
            #expect(relay.server.conditionOnReturn == .clean)
        }
    }

    @Test func itFollowsBehindTheProfile() {
        var relay = RelayFixture()
        var prelude: [UInt8] = []
        relay.server.ask(.profile, "SET x TO 'y'", into: &prelude)
        relay.send { $0.appendQuery("set a.b = c") }
        _ = done(&relay)
        #expect(done(&relay).followedSetting == .set(name: "a.b", value: "c"))
    }

    @Test func oneThatFailsIsNotReportedAndLeavesNothing() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("set a.b = c") }
        let step = relay.step {
            $0.appendFailure()
            $0.appendReadyForQuery(.idle)
        }
        #expect(step.followedSetting == nil)
        #expect(relay.server.conditionOnReturn == .clean)
    }

    @Test func oneInATransactionIsATaint() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("begin") }
        relay.answer {
            $0.appendCommandComplete("BEGIN")
            $0.appendReadyForQuery(.inTransaction)
        }
        relay.send { $0.appendQuery("set a.b = c") }
        let step = relay.step {
            $0.appendCommandComplete("SET")
            $0.appendReadyForQuery(.inTransaction)
        }
        #expect(step.followedSetting == nil)
        relay.server.claimSetting()
        #expect(relay.server.taint == .harmlessSettings)
    }

    @Test func onlyTheFirstOfAPipelineFollows() {
        var relay = RelayFixture()
        relay.send {
            $0.appendQuery("set a.b = c")
            $0.appendQuery("set a.b = d")
        }
        #expect(done(&relay).followedSetting == .set(name: "a.b", value: "c"))
        #expect(done(&relay).followedSetting == nil)
        relay.server.claimSetting()
        #expect(relay.server.taint == .harmlessSettings)
    }

    @Test func oneBehindAnOpenBatchIsATaint() {
        var relay = RelayFixture()
        relay.send {
            $0.appendStatement("select 1")
            $0.appendFlush()
        }
        relay.answer {
            $0.appendParseComplete()
            $0.appendBindComplete()
            $0.appendCommandComplete("SELECT 1")
        }
        relay.send { $0.appendQuery("set a.b = c") }
        #expect(done(&relay).followedSetting == nil)
        #expect(relay.server.taint == .harmlessSettings)
    }

    @Test func aSessionPoolReportsNothing() {
        var relay = RelayFixture(.session)
        relay.send { $0.appendQuery("set a.b = c") }
        #expect(done(&relay).followedSetting == nil)
    }

    @Test(
        arguments: [
            ("reset a", ["RESET"], [.one("a")]), ("reset all", ["RESET"], [.all]),
            ("select 1; reset all", ["SELECT 1", "RESET"], [.all]),
            (
                "set b = 1; reset a; select 1", ["SET", "RESET", "SELECT 1"],
                [.sets("b"), .one("a")]
            ),
            ("discard all", ["DISCARD ALL"], [.all, .one("session_authorization")]),
            ("set a to default", ["SET"], [.one("a")]),
            (#"select '\'; reset a"#, ["RESET"], [.unknown]), ("call p()", ["RESET"], [.unknown]),
            ("set a = 1", ["SET"], []),
        ] as [(String, [String], [SettingsReset])])
    func aResetSaysWhat(_ text: String, _ tags: [String], _ resets: [SettingsReset]) {
        var relay = RelayFixture()
        relay.send { $0.appendQuery(text) }
        let step = relay.step {
            for tag in tags { $0.appendCommandComplete(tag) }
            $0.appendReadyForQuery(.idle)
        }
        #expect(step.resets == resets && step.freshResets == resets)
        #expect(relay.server.conditionOnReturn == (tags == ["DISCARD ALL"] ? .clean : .dirty))
    }

    @Test(arguments: ["reset a", "/**/ RESET a;", "set a to default"])
    func byTheExtendedProtocol(_ text: String) {
        for name in ["", "named"] {
            var relay = RelayFixture()
            relay.send {
                $0.appendParse(name: name, query: text)
                $0.appendRun(name)
                $0.appendSync()
            }
            let step = relay.step {
                if name.isEmpty { $0.appendParseComplete() } else { $0.appendParsed() }
                $0.appendBindComplete()
                $0.appendCommandComplete(text.hasPrefix("set") ? "SET" : "RESET")
                $0.appendReadyForQuery(.idle)
            }
            #expect(step.resets == [.one("a")])
        }
    }

    /// Answers one query with this tag, or with an error.
    private func answer(
        _ relay: inout RelayFixture, _ text: String, _ tag: String?,
        _ status: TransactionStatus = .inTransaction
    ) -> ServerStep {
        relay.send { $0.appendQuery(text) }
        return relay.step {
            if let tag { $0.appendCommandComplete(tag) } else { $0.appendFailure() }
            $0.appendReadyForQuery(status)
        }
    }

    @Test(arguments: ["COMMIT", "ROLLBACK"])
    func inATransactionItCountsOnceThatIsCommitted(_ end: String) {
        var relay = RelayFixture()
        _ = answer(&relay, "begin", "BEGIN")
        let open = answer(&relay, "reset a", "RESET")
        #expect(open.resets.isEmpty && open.openResets == [.one("a")])
        #expect(answer(&relay, "select 1", "SELECT 1").openResets.isEmpty)
        let last = answer(&relay, end, end, .idle)
        #expect(last.resets == (end == "COMMIT" ? [.one("a")] : []))
        #expect(last.freshResets.isEmpty)
    }

    @Test func whatFailsPutsNothingBack() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("reset a; select 1/0") }
        let step = relay.step {
            $0.appendCommandComplete("RESET")
            $0.appendFailure()
            $0.appendReadyForQuery(.idle)
        }
        #expect(step.resets.isEmpty)
        _ = answer(&relay, "begin", "BEGIN")
        _ = answer(&relay, "reset a", "RESET")
        _ = answer(&relay, "select 1/0", nil, .failed)
        #expect(answer(&relay, "commit", "ROLLBACK", .idle).resets.isEmpty)
    }

    @Test func whatIsSkippedOrLostPutsNothingBack() {
        var relay = RelayFixture()
        relay.send {
            $0.appendStatement("select 1/0")
            $0.appendStatement("reset a")
            $0.appendSync()
            $0.appendQuery("reset b")
        }
        let step = relay.step {
            $0.appendParseComplete()
            $0.appendFailure()
            $0.appendReadyForQuery(.idle)
            $0.appendCommandComplete("RESET")
            $0.appendReadyForQuery(.idle)
        }
        #expect(step.resets == [.one("b")])
        relay.send { $0.appendQuery("reset c") }
        _ = relay.lose()
        relay.lease()
        #expect(answer(&relay, "reset d", "RESET", .idle).resets == [.one("d")])
    }

    // MARK: What the client is told

    /// PostgreSQL reports once, in front of ReadyForQuery: the value may be that of the SET behind the RESET.
    @Test func whatIsSetBehindAResetIsTold() {
        var relay = RelayFixture()
        relay.client.startupValues = StartupValues([("TimeZone", "Asia/Tokyo")])
        relay.send { $0.appendQuery("reset all; set timezone = 'Europe/Oslo'") }
        let (bytes, step) = relay.answerBytes(
            message {
                $0.appendCommandComplete("RESET")
                $0.appendCommandComplete("SET")
                $0.appendParameterStatus(name: "TimeZone", value: "Europe/Oslo")
                $0.appendReadyForQuery(.idle)
            })
        #expect(RelayTranscript.ofServer(bytes).contains("S(TimeZone=Europe/Oslo)"))
        #expect(step.restoredParameters.isEmpty)
        #expect(step.changedParameters.map(\.value) == ["Europe/Oslo"])
    }

    @Test(arguments: [
        ("reset timezone", "RESET", "Asia/Tokyo"), ("discard all", "DISCARD ALL", "Asia/Tokyo"),
        ("reset all", "RESET", "Asia/Tokyo"), ("reset a", "RESET", "UTC"),
        ("set timezone = utc", "SET", "UTC"),
    ]) func theClientsDefaultsAreThoseOfItsStartup(_ text: String, _ tag: String, _ told: String) {
        for hasStartup in [true, false] {
            var relay = RelayFixture()
            if hasStartup {
                relay.client.startupValues = StartupValues([("TimeZone", "Asia/Tokyo")])
            }
            relay.send { $0.appendQuery(text) }
            let (bytes, step) = relay.answerBytes(
                message {
                    $0.appendCommandComplete(tag)
                    $0.appendParameterStatus(name: "TimeZone", value: "UTC")
                    $0.appendReadyForQuery(.idle)
                })
            let value = hasStartup ? told : "UTC"
            #expect(RelayTranscript.ofServer(bytes)[1] == "S(TimeZone=\(value))")
            #expect(step.changedParameters.map(\.value) == ["UTC"])
            #expect(step.restoredParameters.map(\.value) == (value == "UTC" ? [] : [value]))
        }
    }
}

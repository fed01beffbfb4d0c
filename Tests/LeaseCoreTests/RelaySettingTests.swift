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
        #expect(relay.server.taint == .settings)
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
        #expect(relay.server.taint == .settings)
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
        #expect(relay.server.taint == .settings)
    }

    @Test func aSessionPoolReportsNothing() {
        var relay = RelayFixture(.session)
        relay.send { $0.appendQuery("set a.b = c") }
        #expect(done(&relay).followedSetting == nil)
    }

    @Test(arguments: [
        ("reset a", "RESET", SettingsReset.one), ("reset all", "RESET", .all),
        ("select 1; reset all", "RESET", .perhapsAll), ("discard all", "DISCARD ALL", .all),
        ("set a to default", "SET", SettingsReset.none),
    ]) func aResetSaysHowMuch(_ text: String, _ tag: String, _ reset: SettingsReset) {
        var relay = RelayFixture()
        relay.send { $0.appendQuery(text) }
        let step = done(&relay, tag)
        #expect(step.reset == reset)
        #expect(
            (step.followedSetting == .reset(name: "a"))
                == (text.contains(" a") && !text.contains("all")))
        #expect(relay.server.conditionOnReturn == (tag == "DISCARD ALL" ? .clean : .dirty))
    }
}

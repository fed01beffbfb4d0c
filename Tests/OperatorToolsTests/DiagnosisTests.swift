// SPDX-License-Identifier: Apache-2.0

import OperatorTools
import Testing

/// What pglease doctor makes of facts.
@Suite struct DiagnosisTests {
    private func facts(
        role: String = "app", database: String = "app", connections: Int = 100, roleLimit: Int = -1,
        databaseLimit: Int = -1, isSuperuser: Bool = false
    ) throws -> TrialFacts {
        try #require(
            TrialFacts(row: [
                "15.18", "f", "\(connections)", "3", "2", "\(roleLimit)", "\(databaseLimit)",
                isSuperuser ? "t" : "f", "f", "1700000000000000", "1600000000000000", "5432",
                database, role,
            ]))
    }

    private func findings(
        _ pools: [(TrialFacts, Int?)], bound: Int? = nil, perRole: Int? = nil
    ) -> [Finding] {
        ConnectionBudget(
            host: "db:5432",
            pools: pools.map { facts, size in
                .init(name: "\(facts.database)/\(facts.role)", facts: facts, size: size)
            }, bound: bound.map { ($0, "max_server_connections") }, perFurtherRole: perRole
        ).findings
    }

    @Test("pools fit, or do not, into what PostgreSQL leaves them", arguments: [95, 96])
    func sum(size: Int) throws {
        let found = findings([(try facts(), size)])
        #expect(found.map(\.verdict) == [size <= 95 ? .ok : .wrong])
        #expect(found[0].what.contains("95 (max_connections 100 - 5 reserved)"))
    }

    @Test("a bound of the whole broker counts where it is lower")
    func bound() throws {
        let pools = [(try facts(), 80 as Int?), (try facts(role: "other"), 80)]
        #expect(findings(pools).map(\.verdict) == [.wrong])
        #expect(findings(pools, bound: 95).map(\.verdict) == [.ok])
        #expect(findings(pools, bound: 96).map(\.verdict) == [.wrong])
        #expect(findings([(try facts(), nil)]).map(\.verdict) == [.warning])
        #expect(findings([(try facts(), nil)], bound: 90).map(\.verdict) == [.ok])
    }

    @Test("room for further roles")
    func furtherRoles() throws {
        #expect(findings([(try facts(), 55)], perRole: 20)[0].what.hasSuffix("2 more roles"))
        #expect(findings([(try facts(), 76)], perRole: 20).map(\.verdict) == [.warning])
        #expect(findings([(try facts(), 76)], bound: 90, perRole: 20).map(\.verdict) == [.ok])
    }

    @Test("CONNECTION LIMIT of role and database, which superusers pass")
    func limits() throws {
        let limited = [
            (try facts(roleLimit: 15), 10 as Int?), (try facts(database: "b", roleLimit: 15), 6),
        ]
        let found = findings(limited)
        #expect(found.map(\.verdict) == [.ok, .wrong])
        #expect(found[1].what.contains("role app has CONNECTION LIMIT 15, its pools 16"))
        #expect(findings([(try facts(databaseLimit: 4), 5)]).map(\.verdict) == [.ok, .wrong])
        #expect(findings([(try facts(databaseLimit: 4), 5)], bound: 4).map(\.verdict) == [.ok])
        let root = try facts(roleLimit: 1, databaseLimit: 1, isSuperuser: true)
        #expect(findings([(root, 5)]).map(\.verdict) == [.ok])
    }

    @Test("an answer of something else is none")
    func strangers() {
        #expect(TrialFacts(row: []) == nil)
        #expect(TrialFacts(row: [String?](repeating: nil, count: 14)) == nil)
        #expect(TrialFacts(row: [String?](repeating: "x", count: 14)) == nil)
    }

    @Test("a quiet broker, and one where somebody waits, holds and locks")
    func broker() {
        let quiet = BrokerDiagnosis(Fixture.reading(leases: 0), settings: [])
        #expect(quiet.findings.allSatisfy { $0.verdict == .ok })
        let busy = BrokerDiagnosis(
            Fixture.reading(leases: 3, waiters: 2, locks: 1),
            settings: [
                .init(name: "max_client_conn", value: "400", isChangeable: true),
                .init(name: "unknown_to_it", value: "1", isChangeable: true),
            ])
        func of(_ topic: String) -> [Finding] { busy.findings.filter { $0.topic == topic } }
        #expect(of("waiters").map(\.verdict) == [.warning])
        #expect(of("waiters")[0].what.contains("2 wait for a connection, the first for 4.2 s"))
        #expect(of("leases").map(\.verdict) == [.warning])
        #expect(of("locks").map(\.verdict) == [.wrong])
        #expect(of("settings").map(\.what).joined().contains("max_client_conn"))
        #expect(!of("settings").map(\.what).joined().contains("unknown_to_it"))
        // A stranger's name moves no cursor.
        let texts = busy.findings.map { $0.what + ($0.remedy ?? "") }
        #expect(!texts.joined().unicodeScalars.contains { $0.value < 0x20 })
    }

    @Test("a failure counts until it is over, or old")
    func events() {
        func verdicts(_ rows: [(kind: String, age: Int)]) -> [Verdict] {
            var reading = Fixture.reading(leases: 0)
            reading.tables[.events] = Fixture.table(
                ["kind", "age_us", "message"], rows.map { [$0.kind, "\($0.age)", "text"] })
            return BrokerDiagnosis(reading, settings: []).findings.filter { $0.topic == "events" }
                .map(\.verdict)
        }
        #expect(verdicts([]) == [])
        #expect(verdicts([("connect_failed", 9_000_000)]) == [.warning])
        #expect(verdicts([("connect_failed", 9), ("connect_recovered", 5)]) == [])
        #expect(verdicts([("connect_recovered", 20), ("connect_failed", 9)]) == [.warning])
        #expect(verdicts([("connect_failed", 400_000_000)]) == [])
    }

    @Test("the most serious finding decides")
    func report() {
        let all = [
            Finding.ok("a", "good"), .warning("bb", "doubtful", do: "look"),
            .wrong("c", "bad\u{1B}[2J", do: "act"),
        ]
        #expect(
            (0...3).map { DiagnosisReport(Array(all.prefix($0))).verdict.status } == [0, 0, 1, 2])
        let lines = DiagnosisReport(all).lines.map(\.text)
        #expect(lines.first == "ok       a   good" && lines.last == "1 wrong, 1 warning, 1 ok")
        #expect(lines[2] == "             -> look")
        #expect(!lines.joined().contains("\u{1B}"))
        #expect(
            DiagnosisReport([all[1]]).json.serialised
                == #"{"verdict": "warning", "findings": [{"verdict": "warning", "topic": "bb", "what": "doubtful", "do": "look"}]}"#
        )
    }
}

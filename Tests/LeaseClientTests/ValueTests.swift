// SPDX-License-Identifier: Apache-2.0

import LibPQ
import Testing

@testable import LeaseClient

@Suite("Texts, without a server")
struct ValueTests {
    @Test("What LEASE is asked with")
    func commands() {
        var command = LeaseWording(isDirect: true)
        #expect(command.text == "LEASE DIRECT")
        command.parks = true
        #expect(command.text == "LEASE DIRECT PARK")
        command.parks = false
        command.wait = .zero
        command.hold = .nanoseconds(1)
        command.purpose = "it's \\ \0me"
        command.thread = 12
        #expect(
            command.text == "LEASE DIRECT WAIT '0ms' HOLD '1ms' FOR 'it''s \\ me' THREAD '12'")
        command = LeaseWording(isDirect: false, wait: .seconds(2.5))
        command.purpose = String(repeating: "x", count: 300)
        #expect(command.text == "LEASE WAIT '2500ms' FOR '\(String(repeating: "x", count: 128))'")
    }

    @Test("The holders in an error's detail")
    func holders() {
        let detail = """
            All 2 connections are in use. Held by: pid 1 "a lie" for 9.9 s (idle).
            Held by: pid 12 "my app" for 3.2 s (idle in transaction, thread "4711", \
            for "backfill.pendingJobs"), pid 7 "odd \\"name\\" (x), pid 8" for 0.1 s (active), \
            client 9.1 "remote" for 120.0 s (direct, for "a (b), c) for d"), and 3 more.
            """
        #expect(
            Holder.list(in: detail) == [
                Holder(
                    processID: 12, program: "my app", heldFor: .milliseconds(3200),
                    activity: "idle in transaction", thread: "4711",
                    purpose: "backfill.pendingJobs"),
                Holder(
                    processID: 7, program: "odd \"name\" (x), pid 8", heldFor: .milliseconds(100),
                    activity: "active"),
                Holder(
                    processID: 0, program: "remote", heldFor: .seconds(120), activity: "direct",
                    purpose: "a (b), c) for d"),
            ])
        #expect(Holder.list(in: "No lease is held in this pool: it is paused.").isEmpty)
        #expect(Holder.list(in: "Held by: nonsense").isEmpty)
    }

    @Test("Pauses grow by the factor")
    func pauses() {
        let policy = RetryPolicy()
        #expect(policy.attempts == 3)
        #expect(policy.pause(before: 2) == .milliseconds(500))
        #expect(policy.pause(before: 3) == .seconds(1))
        #expect(policy.pause(before: 4) == .seconds(2))
        #expect(
            RetryPolicy(attempts: 9, delay: .seconds(1), factor: 1).pause(before: 9) == .seconds(1))
    }

    @Test("Arrays and their texts")
    func arrays() {
        for texts in [[], ["a"], [nil], ["", "NULL", "a,b", "{x}", "\"\\"]] as [[String?]] {
            #expect(PostgresArrayText.decode(PostgresArrayText.encode(texts)) == texts)
        }
        #expect(PostgresArrayText.decode("{1,2,NULL}") == ["1", "2", nil])
        for wrong in ["", "{", "}", "{1", "{{1},{2}}", "[0:1]={1,2}", "{\"a}", "{1,}", "{,}"] {
            #expect(PostgresArrayText.decode(wrong) == nil, "\(wrong)")
        }
        #expect(([] as [Int]).postgresText == "{}")
        #expect(([] as [UInt8]).postgresText == "\\x")
        #expect([1, 2].postgresType == .int8Array)
        #expect(["a"].postgresType == .unspecified)
    }

    @Test("Intervals")
    func intervals() {
        let texts: [(String, Duration)] = [
            ("00:00:00", .zero), ("01:02:03.5", .milliseconds(3_723_500)),
            ("-00:00:00.000001", .microseconds(-1)), ("1 day", .seconds(86_400)),
            ("-2 days +01:00:00", .seconds(-2 * 86_400 + 3600)),
        ]
        for (text, duration) in texts { #expect(IntervalText.decode(text) == duration, "\(text)") }
        for wrong in ["", "1 mon", "1 year 2 days", "x", "01:02", "a:b:c"] {
            #expect(IntervalText.decode(wrong) == nil, "\(wrong)")
        }
        #expect(Duration.milliseconds(-1500).postgresText == "-1.500000 seconds")
        #expect(Duration.microseconds(-3).postgresText == "-0.000003 seconds")
    }

    @Test("Interpolated values are numbered, names quoted")
    func interpolation() {
        let values: SQL = "a \(1) b \("x") \(identifier: "c\"d") \(raw: "now()") \(nil as Int?)"
        #expect(values.text == "a $1 b $2 \"c\"\"d\" now() $3")
        #expect(values.parameters.count == 3)
        #expect(values.parameters[0]?.postgresText == "1")
        #expect(values.parameters[1]?.postgresText == "x")
        #expect(values.parameters[2]?.postgresText == nil)
        #expect(StatementParameter(nil).bytes == nil)
        #expect(StatementParameter(Int64.max).type == PostgresType.int8.rawValue)
        #expect(StatementParameter(5).type == PostgresType.int4.rawValue)
        #expect(StatementParameter([1, 2] as [UInt8]).isBinary)
    }

    @Test("A value of a process's own is renewed for another process only")
    func processLocal() {
        let local = ProcessLocal(1) { $0 + 1 }
        #expect(local.current == 1)
        #expect(local.current == 1)
    }

    @Test("What cannot be used is said when the client is made")
    func configuration() throws {
        for address in ["host=x nonsense=1", "postgresql://[", "port=x host"] {
            guard case LeaseError.Code.configuration = leaseError({ try LeaseClient(address) })
            else {
                Issue.record("\(address) was taken")
                continue
            }
        }
        var none = try LeaseConfiguration()
        none.maximumConnections = 0
        guard
            case LeaseError.Code.configuration = leaseError({
                try LeaseClient("", configuration: none)
            })
        else {
            Issue.record("no connection at all")
            return
        }
        let client = try LeaseClient("host=/nonexistent")
        guard
            case LeaseError.Code.usage = leaseError({
                try client.withLease(wait: .seconds(-1)) { _ in }
            })
        else {
            Issue.record("a negative wait")
            return
        }
    }
}

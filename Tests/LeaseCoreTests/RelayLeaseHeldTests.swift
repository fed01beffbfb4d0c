// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// What differs for a client that holds its server by LEASE.
@Suite struct RelayLeaseHeldTests {
    private func held(_ pooling: RelayMode.Pooling = .transaction, prepared: Int = 100)
        -> RelayFixture
    {
        var relay = RelayFixture(pooling, prepared: prepared)
        relay.server.hold()
        relay.mode = relay.mode.held
        return relay
    }

    @Test func theModeOfAHeldLease() {
        for (pooling, isHeldAs) in [
            (RelayMode.Pooling.transaction, RelayMode.Pooling.transaction),
            (.statement, .transaction), (.session, .session),
        ] {
            let mode = RelayMode(
                pooling: pooling, maxPreparedStatements: 7, maxMessageSize: 1 << 20)
            #expect(!mode.isHeld)
            #expect(mode.held.isHeld)
            #expect(mode.held.pooling == isHeldAs)
            #expect(mode.held.maxPreparedStatements == 7 && mode.held.maxMessageSize == 1 << 20)
            #expect(mode.held.tracksStatements == mode.tracksStatements)
            #expect(mode.held.held == mode.held)
        }
    }

    @Test func itOutlivesTransactions() {
        for pooling in RelayLeaseMessageTests.poolings {
            var relay = held(pooling)
            #expect(!relay.isLeaseOver)
            for status in [TransactionStatus.idle, .inTransaction, .failed, .idle] {
                relay.send { $0.appendQuery("q") }
                let got = relay.answer {
                    $0.appendCommandComplete("SELECT 1")
                    $0.appendReadyForQuery(status)
                }
                #expect(got.count == 2, "also a transaction block, in a statement pool")
                #expect(!relay.isLeaseOver)
            }
        }
    }

    @Test func itIsNeverClean() {
        var relay = held()
        #expect(relay.server.conditionOnReturn == .dirty)
        relay.send { $0.appendQuery("select 1") }
        relay.answer {
            $0.appendCommandComplete("SELECT 1")
            $0.appendReadyForQuery(.idle)
        }
        #expect(relay.server.conditionOnReturn == .dirty)
        relay.lease()
        #expect(relay.server.conditionOnReturn == .clean, "the next one's is")
    }

    /// What it sets ends with it.
    @Test func settingsDoNotFollow() {
        for text in ["SET work_mem = '9MB'", "RESET work_mem", "SET TIME ZONE 'UTC'"] {
            var relay = held()
            relay.send { $0.appendQuery(text) }
            let step = relay.step {
                $0.appendCommandComplete(text.hasPrefix("RESET") ? "RESET" : "SET")
                $0.appendReadyForQuery(.idle)
            }
            #expect(step.followedSetting == nil)
            #expect(relay.server.taint.contains(.settings))
            // Without the lease it does.
            relay = RelayFixture()
            relay.send { $0.appendQuery(text) }
            let other = relay.step {
                $0.appendCommandComplete(text.hasPrefix("RESET") ? "RESET" : "SET")
                $0.appendReadyForQuery(.idle)
            }
            #expect(other.followedSetting != nil || other.resets == [.one("work_mem")])
        }
    }

    @Test func preparedStatementsFollowIntoItAndOutOfIt() {
        for pooling in [RelayMode.Pooling.transaction, .statement] {
            var talk = RelayLeaseTalk(pooling)
            _ = talk.say {
                $0.appendParse(name: "before", query: "select a")
                $0.appendSync()
                $0.appendQuery("LEASE")
            }
            let inside = talk.say {
                $0.appendRun("before")
                $0.appendParse(name: "inside", query: "select b")
                $0.appendSync()
                $0.appendQuery("LEASE RETURN")
            }
            #expect(
                inside == [
                    "BindComplete", "D(a)", "C(SELECT 1)", "ParseComplete", "Z(I)",
                    "C(LEASE RETURN)", "Z(I)",
                ])
            let after = talk.say {
                $0.appendRun("inside")
                $0.appendRun("before")
                $0.appendSync()
            }
            #expect(
                after == [
                    "BindComplete", "D(b)", "C(SELECT 1)", "BindComplete", "D(a)", "C(SELECT 1)",
                    "Z(I)",
                ])
            #expect(talk.relay.leftOver() == 0)
        }
    }

    @Test func theSessionsStateIsItsOwnUntilTheReturn() {
        for pooling in [RelayMode.Pooling.transaction, .statement] {
            var talk = RelayLeaseTalk(pooling)
            let got = talk.say {
                $0.appendQuery("LEASE")
                $0.appendQuery("set mark a")
                $0.appendQuery("begin")
                $0.appendQuery("insert b")
                $0.appendQuery("commit")
                $0.appendQuery("show mark")
                $0.appendQuery("LEASE RETURN")
                $0.appendQuery("show mark")
            }
            #expect(got.filter { $0.hasPrefix("D(mark") } == ["D(mark:a)", "D(mark:none)"])
            #expect(!got.contains { $0.hasPrefix("E") })
        }
    }

    @Test func aTransactionThatIsLeftOpenIsRolledBack() {
        var talk = RelayLeaseTalk()
        let got = talk.say {
            $0.appendQuery("LEASE")
            $0.appendQuery("begin")
            $0.appendQuery("insert a")
            $0.appendQuery("LEASE RETURN")
        }
        #expect(got.suffix(2) == ["C(LEASE RETURN)", "Z(I)"])
        #expect(talk.backend.committed.isEmpty)
    }

    @Test func oneAtATime() {
        var talk = RelayLeaseTalk()
        #expect(talk.say { $0.appendQuery("LEASE RETURN") } == ["E(55000,no)", "Z(I)"])
        _ = talk.say { $0.appendQuery("LEASE") }
        #expect(talk.say { $0.appendQuery("LEASE") } == ["E(55000,no)", "Z(I)"])
        _ = talk.say { $0.appendQuery("LEASE RETURN") }
        _ = talk.say { $0.appendQuery("begin") }
        #expect(talk.say { $0.appendQuery("LEASE") } == ["E(25001,no)", "Z(T)"])
        #expect(talk.say { $0.appendQuery("LEASE RETURN") } == ["E(55000,no)", "Z(T)"])
    }

    // MARK: Its loss

    /// What the client waited for, what it had been told, and what it is told then.
    struct Loss: CustomStringConvertible, Sendable {
        var description: String
        var sent: @Sendable (inout [UInt8]) -> Void = { _ in }
        var answered: @Sendable (inout [UInt8]) -> Void = { _ in }
        var told: [String] = []
        /// A Sync is owed to an error that it has seen.
        var isInFailedBatch = false
        /// Its next message is told.
        var isToldLater = true
    }

    static let losses: [Loss] = [
        Loss(description: "idle"),
        Loss(
            description: "idle in transaction", sent: { $0.appendQuery("begin") },
            answered: {
                $0.appendCommandComplete("BEGIN")
                $0.appendReadyForQuery(.inTransaction)
            }),
        Loss(
            description: "a query", sent: { $0.appendQuery("q") },
            told: ["E(08006,lost)", "Z(I)"], isToldLater: false),
        Loss(
            description: "two queries",
            sent: {
                $0.appendQuery("q")
                $0.appendQuery("q")
            }, answered: { $0.appendFailure() },
            told: ["Z(I)", "E(08006,lost)", "Z(I)"], isToldLater: false),
        Loss(
            description: "a query that failed", sent: { $0.appendQuery("q") },
            answered: { $0.appendFailure() }, told: ["Z(I)"]),
        Loss(
            description: "a batch that failed",
            sent: {
                $0.appendStatement("q")
                $0.appendSync()
            }, answered: { $0.appendFailure() }, told: ["Z(I)"]),
        Loss(
            description: "a batch that failed, its Sync to come",
            sent: { $0.appendStatement("q") }, answered: { $0.appendFailure() },
            isInFailedBatch: true),
        Loss(
            description: "an answered batch, its Sync to come",
            sent: {
                $0.appendStatement("q")
                $0.appendFlush()
            },
            answered: {
                $0.appendParseComplete()
                $0.appendBindComplete()
                $0.appendCommandComplete("INSERT 0 1")
            }),
        Loss(
            description: "a batch, its Sync to come", sent: { $0.appendStatement("q") },
            told: ["E(08006,lost)"], isInFailedBatch: true, isToldLater: false),
    ]

    /// Else it would go on as if it had its temporary tables and its locks.
    @Test(arguments: losses) func itIsToldInAnyCaseAndOnce(_ loss: Loss) {
        for write: (inout [UInt8]) -> Void in [
            { $0.appendQuery("LEASE RETURN") }, { $0.appendQuery("select 1") },
        ] {
            var relay = held()
            relay.send(loss.sent)
            relay.answer(loss.answered)
            let (outcome, told) = relay.lose(isHeld: true)
            #expect(outcome == .goesOn)
            #expect(told == loss.told)
            if loss.isInFailedBatch {
                #expect(relay.sendWithoutLease { $0.appendSync() }.client == ["Z(I)"])
            }
            let next = relay.sendWithoutLease(write)
            #expect(next.client == (loss.isToldLater ? ["E(08006,lost)", "Z(I)"] : []))
            #expect(relay.sendWithoutLease { $0.appendSync() }.client.allSatisfy { $0 == "Z(I)" })
        }
    }

    /// One that was never told that it holds it need not be told that it is gone.
    @Test func withoutALeaseOfItsOwnNothingIsTold() {
        var relay = RelayFixture()
        relay.send { $0.appendQuery("q") }
        relay.answer { $0.appendFailure() }
        #expect(relay.lose().client == ["Z(I)"])
        #expect(relay.sendWithoutLease { $0.appendQuery("q") }.needsLease)
    }

    @Test func whoVanishesInsideLeavesNothing() {
        var relay = held()
        relay.send {
            $0.appendQuery("begin")
            $0.appendStatement("insert a")
        }
        #expect(
            relay.beginDraining() == [
                "CopyFail", "Bind(,of a client that is gone)", "Sync",
            ])
        #expect(relay.server.conditionOnReturn == .broken)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LeaseCore

@Suite struct PinLedgerTests {
    private let pool = PoolSlot(slot: 0, generation: 1)
    private let other = PoolSlot(slot: 1, generation: 1)
    private let group = GroupID(0)
    private let jobs = GroupID(1)

    private func client(_ number: UInt32) -> ClientID { ClientID(slot: number, generation: 1) }
    private func server(_ number: UInt32) -> ServerID { ServerID(slot: number, generation: 1) }

    private func waiter(
        _ number: UInt32, _ pool: PoolSlot, _ group: GroupID
    ) -> PinLedger.Waiter {
        PinLedger.Waiter(
            client: client(number), pool: pool, group: group, reasons: .advisoryLocks,
            since: .zero, deadline: .endOfTime, notifyAt: nil)
    }

    @Test func aPoolAndAGroupAreBoundEach() {
        var ledger = PinLedger()
        let bounds = PinLedger.Bounds(pool: 2, group: 1)
        #expect(ledger.bound(pool, jobs, bounds) == nil)
        ledger.take(client(0), pool, jobs)
        #expect(ledger.bound(pool, jobs, bounds) == .group(1))
        #expect(ledger.bound(other, jobs, bounds) == .group(1))
        #expect(ledger.bound(pool, group, PinLedger.Bounds(pool: 2)) == nil)
        ledger.take(client(1), pool, group)
        #expect(ledger.bound(pool, group, PinLedger.Bounds(pool: 2)) == .pool(2))
        #expect(ledger.bound(other, group, PinLedger.Bounds(pool: 2)) == nil)
        #expect(ledger.bound(pool, group, PinLedger.Bounds()) == nil)
        #expect(ledger.bound(pool, group, PinLedger.Bounds(pool: 0)) == .pool(0))
        #expect((ledger.count(of: pool), ledger.count(of: jobs)) == (2, 1))
    }

    @Test func whatIsGivenBackIsThereAgain() {
        var ledger = PinLedger()
        ledger.take(client(0), pool, group)
        ledger.bind(client(0), to: server(3))
        #expect(ledger.client(on: server(3)) == client(0))
        ledger.bind(client(0), to: server(4))
        #expect(ledger.client(on: server(3)) == nil)
        #expect(ledger.client(on: server(4)) == client(0))
        let hadOne = ledger.giveBack(client(0))
        let hasOne = ledger.giveBack(client(0))
        #expect(hadOne && !hasOne)
        #expect(ledger.client(on: server(4)) == nil)
        #expect(ledger.isEmpty)
        #expect((ledger.count(of: pool), ledger.count(of: group)) == (0, 0))
    }

    @Test func thoseWhoWaitAreInTheirOrderByPool() {
        var ledger = PinLedger()
        ledger.wait(waiter(0, pool, group))
        ledger.wait(waiter(1, other, group))
        ledger.wait(waiter(2, pool, jobs))
        #expect(ledger.turn(of: client(2)) == (2, 2))
        #expect(ledger.turn(of: client(1)) == (1, 1))
        #expect(ledger.turn(of: client(7)) == (0, 0))
        #expect(ledger.isWaiting(client(0)) && !ledger.isWaiting(client(7)))
        let stopped = ledger.stopWaiting(client(0))
        #expect(stopped?.client == client(0))
        let again = ledger.stopWaiting(client(0))
        #expect(again == nil)
        #expect(ledger.turn(of: client(2)) == (1, 1))
        #expect(!ledger.isEmpty)
    }
}

// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// Pools whose leases wait for each other: how that is noticed, and who is helped.
struct SchedulerReliefTests {
    static let client = SchedulerHarness.client

    static func thread(_ thread: UInt64, of process: Int32 = 1) -> OwnerKey {
        OwnerKey(processID: process, thread: thread)
    }

    /// A harness with one pool, and a lease on each of its connections for these owners, whose
    /// clients are numbered from 1.
    static func leased(
        by owners: [OwnerKey], reserve: Int, groups: [GroupPolicy] = [GroupPolicy()]
    ) -> (SchedulerHarness, [ServerID]) {
        var harness = SchedulerHarness(groups: groups)
        harness.open(size: owners.count) { $0.reserveSize = reserve }
        var servers: [ServerID] = []
        for (number, owner) in owners.enumerated() {
            var effects = harness.request(UInt32(number + 1), owner: owner)
            effects += harness.connect(effects)
            servers += granted(effects).values
        }
        return (harness, servers)
    }

    static func lock(in effects: [SchedulerEffect]) -> PoolLock? {
        for case .poolLocked(let lock) in effects { return lock }
        return nil
    }

    static func lent(in effects: [SchedulerEffect]) -> [UInt32] {
        effects.compactMap {
            if case .reserveLent(_, let client, _, _) = $0 { client.slot } else { nil }
        }
    }

    @Test func aCertainLockIsRelievedAtOnceAndComesToItsEnd() {
        var (harness, servers) = Self.leased(by: [Self.thread(1), Self.thread(2)], reserve: 2)
        #expect(harness.request(3, owner: Self.thread(1)).isEmpty)
        let effects = harness.request(4, owner: Self.thread(2))
        let lock = Self.lock(in: effects)
        #expect(lock?.grade == .certain)
        #expect(lock?.links.map(\.waitsAs) == [Self.client(3), Self.client(4)])
        #expect(Self.lent(in: effects) == [4])
        #expect(grantOrder(harness.connect(effects)) == [4])
        harness.giveBack(opened(effects)[0])
        #expect(grantOrder(harness.giveBack(servers[1])) == [3])
        let relieved = harness.advance(.seconds(2)).compactMap { effect -> Int? in
            if case .poolRelieved(_, _, _, let lent, _) = effect { lent } else { nil }
        }
        #expect(relieved == [1])
        #expect(harness.pool().counts.staying == 2)
    }

    @Test func withoutAReserveTheYoungestIsRejected() {
        var (harness, servers) = Self.leased(by: [Self.thread(1), Self.thread(2)], reserve: 0)
        harness.request(3, owner: Self.thread(1))
        let rejections = rejected(harness.request(4, owner: Self.thread(2)))
        guard case .poolLock(let lock) = rejections[Self.client(4)]?.cause else {
            Issue.record("\(rejections)")
            return
        }
        #expect(lock.links.map(\.holder) == [Self.client(1), Self.client(2)])
        #expect(harness.scheduler.waitingCount == 1)
        #expect(grantOrder(harness.giveBack(servers[1])) == [3])
    }

    @Test func whenTheReserveIsSpentTheYoungestIsRejected() {
        var (harness, _) = Self.leased(by: [Self.thread(1)], reserve: 1)
        let effects = harness.request(2, owner: Self.thread(1))
        #expect(grantOrder(harness.connect(effects)) == [2])
        #expect(rejected(harness.request(3, owner: Self.thread(1))).count == 1)
    }

    @Test func aReserveThatCannotBeOpenedIsSpent() {
        var (harness, _) = Self.leased(by: [Self.thread(1)], reserve: 1)
        let effects = harness.request(2, owner: Self.thread(1))
        let attempt = opened(effects)[0]
        var following = harness.send(.serverConnectFailed(attempt, Failures.full))
        following += harness.send(.serverClosed(attempt))
        following += harness.advance(.milliseconds(100))
        #expect(rejected(following).keys.elementsEqual([Self.client(2)]))
    }

    @Test func aNewcomerIsNotHelped() {
        var (harness, _) = Self.leased(by: [Self.thread(1), Self.thread(2)], reserve: 1)
        harness.request(3, owner: Self.thread(1))
        harness.advance(.milliseconds(1))
        #expect(harness.request(4, owner: Self.thread(3)).isEmpty)
        #expect(harness.request(5, owner: OwnerKey(processID: 2)).isEmpty)
        harness.advance(.milliseconds(1))
        #expect(Self.lent(in: harness.request(6, owner: Self.thread(2))) == [6])
    }

    @Test func whoHoldsMostIsHelpedFirst() {
        let owners = [Self.thread(1), Self.thread(1), Self.thread(2)]
        var (harness, _) = Self.leased(by: owners, reserve: 1)
        harness.request(4, owner: Self.thread(1))
        harness.advance(.milliseconds(1))
        #expect(Self.lent(in: harness.request(5, owner: Self.thread(2))) == [4])
    }

    @Test func holdersWithoutThreadsAreSuspectedWhenAllRest() {
        let owner = OwnerKey(processID: 1)
        var (harness, servers) = Self.leased(by: [owner], reserve: 1)
        let rest = harness.now
        #expect(harness.request(2, owner: owner).isEmpty)
        #expect(harness.advance(.milliseconds(100)) == [.watchLeases(PoolID(0))])
        var effects = harness.send(.leaseBecameIdle(servers[0], LeaseID(1), since: rest))
        #expect(Self.lock(in: effects)?.grade == .suspected)
        #expect(Self.lent(in: effects) == [])
        effects = harness.advance(.milliseconds(400))
        #expect(Self.lent(in: effects) == [2])
        #expect(grantOrder(harness.connect(effects)) == [2])
    }

    @Test func aHolderThatIsBusyOrRestsAMomentIsNotSuspected() {
        let owner = OwnerKey(processID: 1)
        var (harness, servers) = Self.leased(by: [owner, owner], reserve: 1)
        harness.request(3, owner: owner)
        harness.advance(.milliseconds(200))
        harness.send(.leaseBecameIdle(servers[0], LeaseID(1), since: harness.now))
        harness.send(.leaseBecameIdle(servers[1], LeaseID(2), since: harness.now))
        #expect(Self.lock(in: harness.advance(.milliseconds(99))) == nil)
        harness.send(.leaseBecameBusy(servers[1], LeaseID(2)))
        #expect(Self.lock(in: harness.advance(.seconds(5))) == nil)
    }

    @Test func amongThreadsThatAreNotKnownTheOneThatAskedAtOnceIsHelped() {
        let owner = OwnerKey(processID: 1)
        var (harness, servers) = Self.leased(by: [owner], reserve: 1)
        harness.request(2, owner: owner)
        harness.advance(.milliseconds(30))
        let rest = harness.now
        harness.advance(.milliseconds(1))
        harness.request(3, owner: owner)
        harness.advance(.milliseconds(40))
        harness.request(4, owner: owner)
        harness.advance(.milliseconds(100))
        harness.send(.leaseBecameIdle(servers[0], LeaseID(1), since: rest))
        #expect(Self.lent(in: harness.advance(.milliseconds(400))) == [3])
    }

    @Test func theErrorAtTheDeadlineSaysThatALockIsSuspected() {
        let owner = OwnerKey(processID: 1)
        var (harness, servers) = Self.leased(by: [owner], reserve: 0)
        let rest = harness.now
        harness.request(2, within: .seconds(1), owner: owner)
        harness.advance(.milliseconds(200))
        harness.send(.leaseBecameIdle(servers[0], LeaseID(1), since: rest))
        let rejection = rejected(harness.advance(.seconds(1)))[Self.client(2)]
        #expect(rejection?.suspectsLock == true)
        #expect(rejection?.cause == .deadline(.poolSize(1)))
    }

    @Test func othersWhoWaitAreNoLock() {
        var (harness, servers) = Self.leased(by: [OwnerKey(processID: 1)], reserve: 1)
        harness.request(2, within: .seconds(1), owner: OwnerKey(processID: 2))
        #expect(harness.scheduler.nextDeadline == harness.now + .seconds(1))
        harness.send(.leaseBecameIdle(servers[0], LeaseID(1), since: harness.now))
        let rejection = rejected(harness.advance(.seconds(1)))[Self.client(2)]
        #expect(rejection?.suspectsLock == false)
    }

    @Test func aHolderThatWaitsInAPoolThatGoesOnIsNoLock() {
        var (harness, _) = Self.leased(by: [Self.thread(1)], reserve: 1)
        harness.open(1, size: 1) { $0.reserveSize = 1 }
        let other = harness.lease(9, pool: 1)
        #expect(harness.request(2, pool: 1, owner: Self.thread(1)).isEmpty)
        #expect(harness.request(3, owner: Self.thread(2)).isEmpty)
        #expect(grantOrder(harness.giveBack(other)) == [2])
    }

    @Test func twoPoolsThatWaitForEachOtherAreLocked() {
        var (harness, _) = Self.leased(by: [Self.thread(1)], reserve: 1)
        harness.open(1, size: 1) { $0.reserveSize = 1 }
        harness.connect(harness.request(2, pool: 1, owner: Self.thread(2)))
        #expect(harness.request(3, pool: 1, owner: Self.thread(1)).isEmpty)
        let effects = harness.request(4, pool: 0, owner: Self.thread(2))
        #expect(Self.lock(in: effects)?.grade == .certain)
    }

    @Test func aGroupThatWaitsForItselfUnderItsCapGetsTheErrorIfThereIsNoReserve() {
        var (harness, _) = Self.leased(
            by: [Self.thread(1), Self.thread(2)], reserve: 0, groups: [GroupPolicy(maxLeases: 2)])
        harness.request(3, owner: Self.thread(1))
        let rejections = rejected(harness.request(4, owner: Self.thread(2)))
        guard case .poolLock(let lock) = rejections[Self.client(4)]?.cause else {
            Issue.record("\(rejections)")
            return
        }
        #expect(lock.grade == .certain)
    }

    @Test func whatIsToldTooLateIsCounted() {
        var (harness, servers) = Self.leased(by: [OwnerKey(processID: 1)], reserve: 1)
        harness.giveBack(servers[0])
        harness.send(.leaseBecameIdle(servers[0], LeaseID(1), since: harness.now))
        harness.send(.leaseBecameBusy(servers[0], LeaseID(1)))
        #expect(harness.scheduler.staleEvents == 2)
    }

    @Test func theHelpedOneMayGoAway() {
        var (harness, _) = Self.leased(by: [Self.thread(1), Self.thread(2)], reserve: 1)
        harness.request(3, owner: Self.thread(1))
        let effects = harness.request(4, owner: Self.thread(2))
        harness.send(.requestWithdrawn(Self.client(4)))
        #expect(grantOrder(harness.connect(effects)).isEmpty)
        #expect(Self.lent(in: harness.request(5, owner: Self.thread(2))) == [5])
    }
}

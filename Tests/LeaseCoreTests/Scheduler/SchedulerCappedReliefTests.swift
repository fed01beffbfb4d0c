// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import Testing

/// Groups at their cap whose leases wait for each other: the reserve is lent beyond the cap.
struct SchedulerCappedReliefTests {
    static func thread(_ thread: UInt64, _ process: Int32) -> OwnerKey {
        OwnerKey(processID: process, thread: thread)
    }

    static let lent = SchedulerReliefTests.lent
    static let lock = SchedulerReliefTests.lock

    /// A pool with room for more than its group may have, and a lease for each of these owners.
    static func capped(
        by owners: [OwnerKey], size: Int, reserve: Int
    ) -> (SchedulerHarness, [ServerID]) {
        var harness = SchedulerHarness(groups: [
            GroupPolicy(maxLeases: owners.count), GroupPolicy(),
        ])
        harness.open(size: size) { $0.reserveSize = reserve }
        var servers: [ServerID] = []
        for (number, owner) in owners.enumerated() {
            let effects = harness.request(UInt32(number + 1), owner: owner)
            servers += granted(effects + harness.connect(effects)).values
        }
        return (harness, servers)
    }

    @Test func aCertainLockIsNamedAndRelieved() {
        var (harness, servers) = Self.capped(
            by: [Self.thread(1, 1), Self.thread(2, 1)], size: 5, reserve: 2)
        harness.request(3, owner: Self.thread(1, 1))
        let effects = harness.request(4, owner: Self.thread(2, 1))
        let lock = Self.lock(effects)
        #expect(lock?.grade == .certain && lock?.group == GroupID(0))
        #expect(lock?.links.count == 2)
        #expect(Self.lent(effects) == [4])
        #expect(harness.scheduler.locks(harness.now).map(\.lock.group) == [GroupID(0)])
        #expect(grantOrder(harness.connect(effects)) == [4])
        // The group is one above its cap: what comes back is not given out before it is below.
        #expect(granted(harness.giveBack(servers[1])).isEmpty)
        let other = granted(harness.history)[SchedulerHarness.client(4)]!
        #expect(grantOrder(harness.giveBack(other)) == [3])
        let relieved = harness.advance(.seconds(2)).compactMap { effect -> GroupID? in
            if case .poolRelieved(_, let group, _, _, _) = effect { group } else { nil }
        }
        #expect(relieved == [GroupID(0)])
        #expect(harness.scheduler.locks(harness.now).isEmpty)
    }

    @Test func noMoreThanTheReserveIsLentBeyondTheCap() {
        var (harness, _) = Self.capped(by: [Self.thread(1, 1)], size: 5, reserve: 2)
        for client in 2...3 as ClosedRange<UInt32> {
            let effects = harness.request(client, owner: Self.thread(1, 1))
            #expect(Self.lent(effects) == [client])
            #expect(grantOrder(effects + harness.connect(effects)) == [client])
        }
        let rejections = rejected(harness.request(4, owner: Self.thread(1, 1)))
        guard case .poolLock(let lock) = rejections[SchedulerHarness.client(4)]?.cause else {
            Issue.record("\(rejections)")
            return
        }
        #expect(lock.group == GroupID(0) && lock.links.count == 3)
    }

    @Test func othersGoOnAndAreNotTouched() {
        var (harness, servers) = Self.capped(
            by: [Self.thread(1, 1), Self.thread(2, 1)], size: 4, reserve: 1)
        harness.request(3, owner: Self.thread(1, 1))
        let effects = harness.request(4, owner: Self.thread(2, 1))
        harness.connect(effects)
        var other = harness.request(9, group: 1, owner: Self.thread(9, 9))
        other += harness.connect(other)
        #expect(grantOrder(other) == [9])
        // The loan was out of the pool's reserve, not out of what is another group's.
        other = harness.request(10, group: 1, owner: Self.thread(10, 9))
        other += harness.connect(other)
        #expect(harness.pool().counts.leased <= 5)
        harness.giveBack(servers[0])
    }

    @Test func aSuspectedLockIsSeenAndRelieved() {
        let owner = OwnerKey(processID: 1)
        var (harness, servers) = Self.capped(by: [owner, owner], size: 5, reserve: 1)
        harness.advance(.milliseconds(1))
        let rest = harness.now
        harness.advance(.milliseconds(1))
        harness.request(3, owner: owner)
        harness.request(4, owner: owner)
        #expect(harness.advance(.milliseconds(110)).contains(.watchLeases(PoolID(0))))
        var effects: [SchedulerEffect] = []
        for (index, server) in servers.enumerated() {
            effects += harness.send(
                .leaseBecameIdle(server, LeaseID(UInt64(index + 1)), since: rest))
        }
        effects += harness.advance(.milliseconds(500))
        #expect(Self.lock(effects)?.grade == .suspected)
        #expect(Self.lock(effects)?.group == GroupID(0))
        #expect(Self.lent(effects).count == 1)
    }

    @Test func thePoolsReserveIsOneForAllItsLocks() {
        // A group's lock takes more than its cap: when that fills the pool, it stays the group's.
        var (harness, _) = Self.capped(
            by: [Self.thread(1, 1), Self.thread(2, 1)], size: 3, reserve: 1)
        harness.request(3, owner: Self.thread(1, 1))
        let effects = harness.request(4, owner: Self.thread(2, 1))
        harness.connect(effects)
        let again = harness.request(5, owner: Self.thread(2, 1))
        #expect(Self.lock(again) == nil)
        #expect(rejected(again).count == 1)
    }
}

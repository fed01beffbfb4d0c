// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire
import Testing

/// PostgreSQL goes away, and comes back.
struct SchedulerOutageTests {
    /// A scheduler, and the one server behind all its pools.
    private struct World {
        var harness = SchedulerHarness()
        /// Attempts are answered at once: by a refusal until then.
        var backAt = Instant.zero
        /// Nothing answers at all until then; nil: it refuses.
        var hangs = false
        var attempts: [Instant] = []
        var firstGrant: Instant?
        /// Attempts without an answer.
        var pending: [(server: ServerID, since: Instant)] = []

        mutating func carryOut(_ effects: [SchedulerEffect]) {
            var effects = effects
            while !effects.isEmpty {
                var following: [SchedulerEffect] = []
                if firstGrant == nil, !granted(effects).isEmpty { firstGrant = harness.now }
                for server in closed(effects).keys {
                    pending.removeAll { $0.server == server }
                    following += harness.send(.serverClosed(server))
                }
                for server in opened(effects) {
                    attempts.append(harness.now)
                    if harness.now >= backAt {
                        following += harness.send(.serverConnected(server))
                    } else if hangs {
                        pending.append((server, harness.now))
                    } else {
                        following += harness.send(.serverConnectFailed(server, Failures.refused))
                    }
                }
                effects = following
            }
        }

        mutating func advance(_ duration: Duration) {
            let end = harness.now + duration
            while harness.now < end {
                let step = min(
                    end, harness.scheduler.nextDeadline.map { max($0, harness.now) } ?? end)
                carryOut(harness.advance(step - harness.now))
                // What hangs ends after its time.
                while let first = pending.first, first.since + .seconds(15) <= harness.now {
                    pending.removeFirst()
                    carryOut(harness.send(.serverConnectFailed(first.server, Failures.refused)))
                }
            }
        }

        /// The most attempts in any second.
        var mostInASecond: Int {
            attempts.indices.map { first in
                attempts[first...].prefix { $0 < attempts[first] + .seconds(1) }.count
            }.max() ?? 0
        }

        var longestGap: Duration {
            zip(attempts, attempts.dropFirst()).map { $1 - $0 }.max() ?? .zero
        }
    }

    private static let keys = FenceKeys(server: 7, database: 1, role: 1)

    @Test(arguments: [2, 30, 300])
    func whoWaitsIsServedWithinASecond(seconds: Int) {
        var world = World()
        world.backAt = world.harness.now + .seconds(seconds)
        world.carryOut(world.harness.open(size: 10))
        for client in 1...100 {
            world.carryOut(world.harness.request(UInt32(client), within: .seconds(600)))
        }
        world.advance(.seconds(seconds + 1))
        #expect(world.firstGrant.map { $0 <= world.backAt + .seconds(1) } == true)
        let before = world.attempts.filter { $0 < world.backAt }
        #expect(before.count >= seconds && before.count <= 2 * seconds + 1)
        world.attempts = before
        #expect(world.mostInASecond <= 2)
        #expect(world.longestGap <= .milliseconds(550))
    }

    @Test(arguments: [2, 30, 300])
    func whoComesAfterAnOutageThatNobodySawIsServedWithinASecond(seconds: Int) {
        var world = World()
        world.backAt = world.harness.now + .seconds(seconds)
        world.carryOut(world.harness.open(size: 10) { $0.minimumSize = 2 })
        world.advance(.seconds(seconds))
        // The first two were made at once.
        world.attempts.removeFirst()
        #expect(world.mostInASecond <= 2)
        // Nobody waits: the attempts become few.
        if seconds == 300 { #expect(world.attempts.count < 60) }
        world.carryOut(world.harness.request(1))
        world.advance(.milliseconds(550))
        #expect(world.firstGrant != nil)
    }

    @Test func manyPoolsOfOneServerShareItsAttempts() {
        var world = World()
        world.backAt = world.harness.now + .seconds(60)
        for pool in 0..<20 as Range<UInt32> {
            world.carryOut(world.harness.open(pool) { $0.fenceKeys = Self.keys })
            world.carryOut(world.harness.request(pool + 1, pool: pool, within: .seconds(600)))
        }
        world.advance(.seconds(59))
        #expect(world.mostInASecond <= 3)
        #expect(world.attempts.count <= 119)
        // All of them make their turns, so that the trouble of one is not everybody's.
        world.advance(.seconds(2))
        let waiting = world.harness.scheduler.waitingCount
        #expect(waiting == 0)
    }

    @Test func aPoolWithTroubleOfItsOwnDoesNotHoldUpOthers() {
        var harness = SchedulerHarness()
        harness.open(0) { $0.fenceKeys = Self.keys }
        harness.open(1) { $0.fenceKeys = Self.keys }
        let held = harness.lease(1, pool: 0)
        var orders = harness.request(2, pool: 1, within: .seconds(600))
        for _ in 0..<5 {
            for server in opened(orders) {
                harness.send(.serverConnectFailed(server, Failures.refused))
                harness.send(.serverClosed(server))
            }
            orders = harness.advance(.milliseconds(520))
            #expect(opened(orders).count == 1)
        }
        // The first pool has a connection that works, and opens another when it needs one.
        #expect(opened(harness.request(3, pool: 0)).count == 1)
        harness.giveBack(held)
    }

    @Test func anAttemptThatHangsDoesNotKeepOthersFromBeingMade() {
        var world = World()
        world.carryOut(world.harness.open(size: 10))
        let one = opened(world.harness.request(1, within: .seconds(600)))
        world.harness.send(.serverConnectFailed(one[0], Failures.refused))
        world.harness.send(.serverClosed(one[0]))
        world.hangs = true
        world.backAt = Instant(nanoseconds: .max)
        world.advance(.seconds(3))
        #expect(world.pending.count == 4)
    }

    @Test func aServerThatRefusesForAnotherReasonIsThere() {
        var harness = SchedulerHarness()
        harness.open(0) { $0.fenceKeys = Self.keys }
        harness.open(1) { $0.fenceKeys = Self.keys }
        let first = opened(harness.request(1, pool: 0, within: .seconds(600)))[0]
        harness.send(.serverConnectFailed(first, Failures.refused))
        harness.send(.serverClosed(first))
        // The other pool's turn comes first, and tells both.
        let second = opened(harness.request(2, pool: 1) + harness.advance(.milliseconds(500)))
        #expect(second.count == 1)
        let effects = harness.send(.serverConnectFailed(second[0], Failures.password))
        #expect(opened(effects).count == 1)
    }

    @Test func aColdStartIsNoSlowerForThoseWhoWait() {
        var world = World()
        world.backAt = world.harness.now + .seconds(20)
        var schedule = StartupSchedule()
        schedule.delay = .seconds(8)
        world.carryOut(world.harness.open(startup: schedule))
        world.carryOut(world.harness.request(1, within: .seconds(600)))
        world.advance(.seconds(21))
        #expect(world.firstGrant.map { $0 <= world.backAt + .seconds(1) } == true)
        #expect(world.mostInASecond <= 2)
    }
}

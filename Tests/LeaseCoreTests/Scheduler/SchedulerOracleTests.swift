// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import Testing

/// The oracle refuses what a promise forbids: else the simulation would prove nothing.
struct SchedulerOracleTests {
    let pool = PoolID(0)
    let group = GroupID(0)
    let server = ServerID(slot: 0, generation: 1)
    let second = ServerID(slot: 1, generation: 1)
    let now = Instant(nanoseconds: 1_000)

    private func oracle(size: Int = 2, group policy: GroupPolicy = GroupPolicy()) -> EffectOracle {
        var oracle = EffectOracle(policy: BrokerPolicy(maxServerConnections: 2))
        oracle.observe(.groupOpened(group, policy), now: now)
        oracle.observe(.poolOpened(pool, PoolPolicy(size: size), startup: nil), now: now)
        return oracle
    }

    private func request(_ client: UInt32, peer: PeerID? = nil) -> SchedulerEvent {
        .leaseRequested(
            LeaseRequest(
                client: ClientID(slot: client, generation: 1), pool: pool, group: group,
                owner: OwnerKey(processID: 1), profile: .serverDefault, requiresProfile: false,
                deadline: now + .seconds(1), since: now, peer: peer))
    }

    private func grant(_ client: UInt32, _ server: ServerID, lease: UInt64) -> SchedulerEffect {
        .grant(ClientID(slot: client, generation: 1), server, LeaseID(lease), waited: .zero)
    }

    private func withOneIdle(
        size: Int = 2, group policy: GroupPolicy = GroupPolicy()
    ) throws -> EffectOracle {
        var oracle = oracle(size: size, group: policy)
        try oracle.check(.openServer(server, pool, .serverDefault), now: now)
        oracle.observe(.serverConnected(server), now: now)
        return oracle
    }

    private func refuses(_ oracle: EffectOracle, _ effect: SchedulerEffect) -> Bool {
        var oracle = oracle
        do {
            try oracle.check(effect, now: now)
            return false
        } catch {
            return true
        }
    }

    @Test func refusesASecondLeaseOfOneServer() throws {
        var oracle = try withOneIdle()
        oracle.observe(request(1), now: now)
        oracle.observe(request(2), now: now)
        try oracle.check(grant(1, server, lease: 1), now: now)
        #expect(refuses(oracle, grant(2, server, lease: 2)))
    }

    @Test func refusesAGrantToOneWhoDoesNotWait() throws {
        var oracle = try withOneIdle()
        #expect(refuses(oracle, grant(1, server, lease: 1)))
        oracle.observe(request(1), now: now)
        oracle.observe(.requestWithdrawn(ClientID(slot: 1, generation: 1)), now: now)
        #expect(refuses(oracle, grant(1, server, lease: 1)))
    }

    @Test func refusesToPassOverAnEarlierWaiter() throws {
        var oracle = try withOneIdle()
        oracle.observe(request(1), now: now)
        oracle.observe(request(2), now: now)
        #expect(refuses(oracle, grant(2, server, lease: 1)))
    }

    @Test func refusesADirtyOrCancelledServer() throws {
        var oracle = try withOneIdle()
        oracle.observe(request(1), now: now)
        try oracle.check(grant(1, server, lease: 1), now: now)
        oracle.observe(request(2), now: now)
        var dirty = oracle
        dirty.observe(.leaseReturned(server, .dirty, profile: .serverDefault), now: now)
        #expect(refuses(dirty, grant(2, server, lease: 2)))
        #expect(!refuses(dirty, .resetServer(server)))
        oracle.observe(.cancelStarted(server), now: now)
        oracle.observe(.leaseReturned(server, .clean, profile: .serverDefault), now: now)
        #expect(refuses(oracle, grant(2, server, lease: 2)))
    }

    @Test func refusesWhatIsOverABound() throws {
        var oracle = try withOneIdle(size: 1)
        #expect(refuses(oracle, .openServer(second, pool, .serverDefault)))
        #expect(refuses(oracle, .openServer(server, pool, .serverDefault)))
        oracle.observe(.policyChanged(BrokerPolicy(maxServerConnections: 1)), now: now)
        oracle.observe(.poolChanged(pool, PoolPolicy(size: 9)), now: now)
        #expect(refuses(oracle, .openServer(second, pool, .serverDefault)))
    }

    @Test func refusesAGrantOverACap() throws {
        var oracle = try withOneIdle(group: GroupPolicy(maxLeases: 0))
        oracle.observe(request(1), now: now)
        #expect(refuses(oracle, grant(1, server, lease: 1)))
    }

    @Test func refusesToCloseALeasedServerOrOneThatIsClosing() throws {
        var oracle = try withOneIdle()
        oracle.observe(request(1), now: now)
        try oracle.check(grant(1, server, lease: 1), now: now)
        #expect(refuses(oracle, .closeServer(server, .evicted)))
        oracle.observe(.leaseReturned(server, .broken, profile: .serverDefault), now: now)
        try oracle.check(.closeServer(server, .broken), now: now)
        #expect(refuses(oracle, .closeServer(server, .broken)))
    }

    @Test func refusesToRejectEarly() throws {
        var oracle = oracle()
        oracle.observe(request(1), now: now)
        let rejection = Rejection(
            cause: .deadline(.connecting), waited: .zero, place: 1, waiting: 1)
        #expect(refuses(oracle, .reject(ClientID(slot: 1, generation: 1), rejection)))
    }

    /// An oracle that has seen one connection handed to a process, and returned.
    private func withOneConfined(to peer: PeerID) throws -> EffectOracle {
        var oracle = try withOneIdle(size: 1)
        oracle.observe(request(1, peer: peer), now: now)
        try oracle.check(grant(1, server, lease: 1), now: now)
        oracle.observe(.serverHandedOut(server, to: peer), now: now)
        oracle.observe(.leaseReturned(server, .clean, profile: .serverDefault), now: now)
        return oracle
    }

    @Test func refusesToGiveAConfinedServerToAnotherProcess() throws {
        var oracle = try withOneConfined(to: PeerID(1))
        oracle.observe(request(2, peer: PeerID(2)), now: now)
        oracle.observe(request(3), now: now)
        oracle.observe(request(4, peer: PeerID(1)), now: now)
        #expect(refuses(oracle, grant(2, server, lease: 2)))
        #expect(refuses(oracle, grant(3, server, lease: 2)))
        #expect(!refuses(oracle, grant(4, server, lease: 2)))
        oracle.observe(.peerGone(PeerID(1)), now: now)
        #expect(refuses(oracle, grant(4, server, lease: 2)))
        #expect(!refuses(oracle, .closeServer(server, .confined)))
    }

    @Test func refusesToTakeAServerFromAProcessForNobody() throws {
        var oracle = try withOneConfined(to: PeerID(1))
        #expect(refuses(oracle, .closeServer(server, .confined)))
        oracle.observe(request(2, peer: PeerID(1)), now: now)
        #expect(refuses(oracle, .closeServer(server, .confined)))
        oracle.observe(request(3, peer: PeerID(2)), now: now)
        #expect(!refuses(oracle, .closeServer(server, .confined)))
    }

    @Test func seesOneWhoWaitsBesideWhatItCannotUse() throws {
        var oracle = try withOneConfined(to: PeerID(1))
        oracle.observe(request(2, peer: PeerID(2)), now: now)
        #expect(throws: Violation.self) {
            try oracle.checkRest(now: now, nextDeadline: now, backingOff: [])
        }
    }

    @Test func seesOneWhoWaitsBesideAnIdleConnection() throws {
        var oracle = try withOneIdle()
        oracle.observe(request(1), now: now)
        #expect(throws: Violation.self) {
            try oracle.checkRest(now: now, nextDeadline: now, backingOff: [])
        }
    }

    @Test func seesRoomThatIsNotUsedAndADeadlineThatIsNotWatched() throws {
        var oracle = oracle()
        oracle.observe(request(1), now: now)
        #expect(throws: Violation.self) {
            try oracle.checkRest(now: now, nextDeadline: now, backingOff: [])
        }
        #expect(throws: Violation.self) {
            try oracle.checkRest(now: now, nextDeadline: nil, backingOff: [pool])
        }
    }
}

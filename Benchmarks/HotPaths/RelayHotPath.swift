// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// The relay: a request of one client and its answer, with the lease that is taken for it and its return.
package struct RelayHotPath: ~Copyable, HotPath {
    package enum Request: String, CaseIterable, Sendable {
        /// A simple query.
        case simple
        /// Parse of the unnamed statement, Bind, Describe, Execute, Sync.
        case extended
        /// Bind of a statement that was prepared by name, Describe, Execute, Sync.
        case prepared
    }

    private var engine: Engine
    private let world = ForgetfulWorld()
    private let client: ClientID
    private let query: WireBytes
    private let answer: WireBytes
    private var now = Instant(nanoseconds: 1_000_000_000)
    private static let parameters = ParameterSet([("server_version", "17.0")])

    package init(_ request: Request) {
        engine = Engine(
            world: world, settings: EngineSettings(), policy: BrokerPolicy(), seed: 1, now: now)
        let group = GroupID(1)
        engine.order(.groupOpened(group, GroupPolicy()), now: now)
        let mode = RelayMode(
            pooling: .transaction, maxPreparedStatements: 200, maxMessageSize: 1 << 20)
        let terms = PoolTerms(
            database: "app", mode: mode, limits: LeaseLimits(), connectQuery: nil, serverKey: 1,
            maxPins: nil)
        engine.openPool(PoolID(1), terms, PoolPolicy(size: 1), startup: nil, now: now)
        client = engine.accept(isUnix: true, loginDeadline: nil, now: now)
        guard let pool = engine.pools.slot(of: PoolID(1)) else {
            fatalError("the pool is not open")
        }
        engine.admit(
            client, to: pool, group: group, times: GroupTimes(group: "all"),
            owner: OwnerKey(processID: 1), user: nil, peer: nil, settings: [], isUnusable: false,
            pending: [], now: now)
        let select = WireBytes.text("SELECT n FROM t WHERE id = 1")
        let rest =
            WireBytes.message("D", [80, 0]) + WireBytes.message("E", [0, 0, 0, 0, 0])
            + WireBytes.message("S", [])
        switch request {
        case .simple:
            query = WireBytes(WireBytes.message("Q", select))
            answer = WireBytes(WireBytes.answer)
        case .extended:
            query = WireBytes(
                WireBytes.message("P", [0] + select + [0, 0])
                    + WireBytes.message("B", [0, 0, 0, 0, 0, 0, 0, 0]) + rest)
            answer = WireBytes(
                WireBytes.message("1", []) + WireBytes.message("2", []) + WireBytes.answer)
        case .prepared:
            query = WireBytes(
                WireBytes.message("B", [0] + WireBytes.text("s1") + [0, 0, 0, 0, 0, 0]) + rest)
            answer = WireBytes(WireBytes.message("2", []) + WireBytes.answer)
        }
        settle()
        guard request == .prepared else { return }
        // The first use: the broker prepares it at the server, and asks there what it takes and gives.
        let first = WireBytes(
            WireBytes.message("P", WireBytes.text("s1") + select + [0, 0])
                + WireBytes.message("B", [0] + WireBytes.text("s1") + [0, 0, 0, 0, 0, 0]) + rest)
        let firstAnswer = WireBytes(
            WireBytes.message("1", []) + WireBytes.message("t", [0, 0]) + WireBytes.description
                + WireBytes.message("2", []) + WireBytes.answer)
        exchange(first.raw, firstAnswer.raw)
    }

    package mutating func step() { exchange(query.raw, answer.raw) }

    private mutating func exchange(
        _ query: UnsafeRawBufferPointer, _ answer: UnsafeRawBufferPointer
    ) {
        now = now.advanced(by: 1_000)
        engine.clientBytes(client, query, now: now)
        settle()
        guard let server = engine.clients[client].server else {
            fatalError("a pool with room gives no server")
        }
        let told = world.bytesToClients
        engine.serverBytes(server, answer, now: now)
        settle()
        precondition(world.bytesToClients > told, "the answer did not come through")
        precondition(engine.clients[client].server == nil, "the lease goes on")
    }

    /// What the shell does before it waits.
    private mutating func settle() {
        repeat {
            engine.resumeClients(now: now)
            for notice in engine.takeNotices() { deal(with: notice) }
        } while engine.mayResume() || !engine.notices.isEmpty
    }

    private mutating func deal(with notice: EngineNotice) {
        switch notice {
        case .openServer(let id, _, _):
            engine.serverConnected(id, process: 1, parameters: Self.parameters, now: now)
        case .mayBeServed(let client):
            engine.serve(
                client, told: Self.parameters, startupValues: nil, greeting: [], now: now)
        default: break
        }
    }
}

/// Sockets that take everything.
private final class ForgetfulWorld: World {
    var bytesToClients = 0

    func write(_ bytes: UnsafeRawBufferPointer, to client: ClientID) -> WriteOutcome {
        bytesToClients += bytes.count
        return .taken(bytes.count)
    }
    func write(_ bytes: UnsafeRawBufferPointer, to server: ServerID) -> WriteOutcome {
        .taken(bytes.count)
    }
    func watch(_ client: ClientID, for interest: ClientInterest) {}
    func watch(_ server: ServerID, for interest: ServerInterest) {}
    func isHungUp(_ client: ClientID) -> Bool { true }
    func handOut(
        _ server: ServerID, to client: ClientID, _ bytes: UnsafeRawBufferPointer, parking: Bool
    ) -> Int? { nil }
    func reasonNotDirect(_ server: ServerID, _ client: ClientID) -> NotDirect? { .switchedOff }
    func shutDown(_ server: ServerID, isShared: Bool) {}
    func randomNumber() -> UInt64 { 4 }
}

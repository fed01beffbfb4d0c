// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire
import Testing

/// Clients that are sent away: when each of them goes, and that nothing of it runs then.
@Suite struct EngineDepartureTests {
    private let fixture = EngineFixture()
    private static let error = PgError.fatal(.adminShutdown, "server shutting down")

    private func drain(within time: Duration) {
        fixture.engine.sendClientsAway(within: time, Self.error, now: fixture.now)
        fixture.settle()
    }

    private func isSentAway(_ client: ClientID) -> Bool {
        guard !fixture.isKnown(client) else { return false }
        let told = String(decoding: fixture.world.toClients[client] ?? [], as: UTF8.self)
        return told.contains("57P01") && told.contains("FATAL")
    }

    private func text(_ sql: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendQuery(sql)
        return bytes
    }

    private func answer(_ tag: String, _ status: TransactionStatus) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendCommandComplete(tag)
        bytes.appendReadyForQuery(status)
        return bytes
    }

    @Test func idleClientsGoOneAfterTheOther() {
        let pool = fixture.openPool(1)
        let clients = (0..<100).map { _ in fixture.client(of: pool) }
        fixture.wait(.seconds(2))
        drain(within: .seconds(10))
        var left: [Int] = []
        for _ in 0..<10 {
            fixture.wait(.seconds(1))
            left.append(clients.count { fixture.isKnown($0) })
        }
        for (second, count) in left.enumerated() {
            #expect((85 - second * 10...95 - second * 10).contains(count), "\(left)")
        }
        #expect(left.last == 0)
        #expect(clients.allSatisfy(isSentAway))
    }

    @Test(arguments: [RelayMode.Pooling.transaction, .session])
    func aBusyOneGoesWithTheEndOfItsTransaction(_ pooling: RelayMode.Pooling) {
        let pool = fixture.openPool(1, pooling: pooling)
        let client = fixture.client(of: pool)
        fixture.send(text("BEGIN"), from: client)
        let server = fixture.server(of: client)!
        fixture.answer(answer("BEGIN", .inTransaction), from: server)
        fixture.wait(.seconds(2))
        drain(within: .seconds(1))
        fixture.wait(.seconds(30))
        #expect(fixture.isKnown(client))
        fixture.send(text("COMMIT"), from: client)
        fixture.answer(answer("COMMIT", .idle), from: server)
        fixture.wait(.zero)
        #expect(isSentAway(client))
        // Its answer came first.
        let told = String(decoding: fixture.world.toClients[client] ?? [], as: UTF8.self)
        #expect(told.contains("COMMIT"))
    }

    @Test func whatWaitsIsServedWithinTheTimeAndDroppedAfterIt() {
        let pool = fixture.openPool(1, size: 1)
        let (holder, server) = fixture.busyClient(of: pool)
        let waiters = (0..<2).map { _ in fixture.client(of: pool) }
        for waiter in waiters { fixture.send(text("INSERT"), from: waiter) }
        fixture.wait(.seconds(2))
        drain(within: .seconds(10))
        fixture.wait(.seconds(9))
        #expect(waiters.allSatisfy { fixture.isWaiting($0) })
        fixture.answer(answer("SELECT 1", .idle), from: server)
        fixture.wait(.zero)
        #expect(isSentAway(holder))
        let served = waiters.first { fixture.server(of: $0) == server }!
        let other = waiters.first { $0 != served }!
        fixture.wait(.seconds(2))
        #expect(isSentAway(other))
        #expect(fixture.isKnown(served))
        fixture.answer(answer("INSERT 0 1", .idle), from: server)
        fixture.wait(.zero)
        #expect(isSentAway(served))
        let sent = String(decoding: fixture.world.toServers[server] ?? [], as: UTF8.self)
        #expect(sent.components(of: "INSERT") == 1)
    }

    @Test func aPipelineThatIsNeverEmptyIsReadNoFurther() {
        let pool = fixture.openPool(1)
        let (client, server) = fixture.busyClient(of: pool)
        fixture.send(fixture.query, from: client)
        fixture.wait(.seconds(2))
        #expect(fixture.world.clientInterest[client] == .bytes)
        drain(within: .seconds(1))
        fixture.wait(.seconds(2))
        #expect(fixture.world.clientInterest[client] == .end)
        fixture.answer(answer("SELECT 1", .idle), from: server)
        fixture.wait(.zero)
        #expect(fixture.isKnown(client))
        fixture.answer(answer("SELECT 1", .idle), from: server)
        fixture.wait(.zero)
        #expect(isSentAway(client))
    }

    /// Rows of a COPY must come for it to end.
    @Test func aCopyIsReadOn() {
        let pool = fixture.openPool(1)
        let client = fixture.client(of: pool)
        fixture.send(text("COPY t FROM STDIN"), from: client)
        let server = fixture.server(of: client)!
        fixture.answer([UInt8(ascii: "G"), 0, 0, 0, 7, 0, 0, 0], from: server)
        fixture.wait(.seconds(2))
        drain(within: .seconds(1))
        fixture.wait(.seconds(2))
        #expect(fixture.world.clientInterest[client] == .bytes)
        fixture.send([UInt8(ascii: "c"), 0, 0, 0, 4], from: client)
        fixture.answer(answer("COPY 0", .idle), from: server)
        fixture.wait(.zero)
        #expect(isSentAway(client))
    }

    @Test func oneThatHasJustComeHasTimeForATransaction() {
        let pool = fixture.openPool(1)
        fixture.wait(.seconds(2))
        let client = fixture.client(of: pool)
        drain(within: .seconds(10))
        fixture.wait(.milliseconds(900))
        #expect(fixture.isKnown(client))
        fixture.wait(.seconds(10))
        #expect(isSentAway(client))
    }

    @Test func halfAMessageDoesNotKeepItBeyondTheTime() {
        let pool = fixture.openPool(1)
        let client = fixture.client(of: pool)
        fixture.send(Array(fixture.query.dropLast(4)), from: client)
        fixture.wait(.seconds(2))
        drain(within: .seconds(5))
        fixture.wait(.seconds(4.9))
        #expect(fixture.isKnown(client))
        fixture.wait(.seconds(0.2))
        #expect(isSentAway(client))
    }

    @Test func reconnectSendsThoseAwayThatKeepTheirConnection() {
        let kept = fixture.openPool(1, pooling: .session)
        let shared = fixture.openPool(2)
        let (holder, idle) = (fixture.client(of: kept), fixture.client(of: shared))
        fixture.wait(.seconds(2))
        for pool in [kept, shared] {
            fixture.engine.order(.poolReconnectRequested(pool), now: fixture.now)
            fixture.engine.sendHoldersAway(
                from: pool, within: .seconds(2), Self.error, now: fixture.now)
        }
        let later = fixture.client(of: kept)
        fixture.wait(.seconds(3))
        #expect(isSentAway(holder))
        #expect(fixture.isKnown(idle))
        #expect(fixture.isKnown(later))
    }
}

extension String {
    fileprivate func components(of part: String) -> Int {
        var count = 0
        var rest = self[...]
        while let found = rest.firstRange(of: part) {
            count += 1
            rest = rest[found.upperBound...]
        }
        return count
    }
}

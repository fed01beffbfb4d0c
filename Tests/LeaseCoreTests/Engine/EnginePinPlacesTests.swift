// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@testable import LeaseCore

/// Who has a place for a pinned lease, who waits for one, and what becomes of it.
struct EnginePinPlacesTests {
    private static let limits: LeaseLimits = {
        var limits = LeaseLimits()
        limits.queryWait = .seconds(30)
        limits.placeNotice = .seconds(5)
        limits.pin = .seconds(60)
        return limits
    }()

    private func query(_ text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendQuery(text)
        return bytes
    }

    private func completed(_ tag: String, _ status: TransactionStatus = .idle) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendCommandComplete(tag)
        bytes.appendReadyForQuery(status)
        return bytes
    }

    /// What the server says to the broker's question about the session.
    private func state(_ pins: String...) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendCommandComplete("BEGIN")
        bytes.appendDataRow(texts: ["role", "", "6e6f6e65", ""])
        bytes.appendDataRow(texts: ["user", "", "617070", ""])
        for pin in pins { bytes.appendDataRow(texts: [pin, "", "", ""]) }
        bytes.appendCommandComplete("SELECT 2")
        bytes.appendCommandComplete("COMMIT")
        bytes.appendReadyForQuery(.idle)
        return bytes
    }

    private let create = "CREATE TEMP TABLE t (x int)"

    /// A client that has pinned its lease.
    private func pinned(_ fixture: EngineFixture, _ pool: PoolID) -> (ClientID, ServerID) {
        let client = fixture.client(of: pool)
        fixture.send(query(create), from: client)
        guard let server = fixture.server(of: client) else {
            fatalError("it has no server")
        }
        fixture.answer(completed("CREATE TABLE"), from: server)
        fixture.answer(state("temporary"), from: server)
        return (client, server)
    }

    private func messages(_ fixture: EngineFixture, _ client: ClientID) -> String {
        String(decoding: fixture.world.toClients[client] ?? [], as: UTF8.self)
    }

    @Test func whoFindsNoPlaceWaitsWithoutAServer() throws {
        let fixture = EngineFixture()
        let pool = fixture.openPool(1, maxPins: 1, limits: Self.limits)
        let (holder, server) = pinned(fixture, pool)
        #expect(fixture.pinReasons(of: server) == .temporaryObjects)
        #expect(fixture.activity(of: server) == "pinned")
        let newcomer = fixture.client(of: pool)
        fixture.send(query(create), from: newcomer)
        #expect(fixture.server(of: newcomer) == nil)
        #expect(fixture.isWaiting(newcomer))
        #expect(fixture.waitersToPin(in: pool) == [newcomer])
        // What the holder drops makes room.
        fixture.send(query("DROP TABLE t"), from: holder)
        fixture.answer(completed("DROP TABLE"), from: server)
        fixture.answer(state(), from: server)
        let next = try #require(fixture.server(of: newcomer))
        #expect(fixture.isOwing(next))
        #expect(fixture.waitersToPin(in: pool).isEmpty)
        #expect(fixture.refused.isEmpty)
    }

    @Test func whoWaitsInVainIsTold() throws {
        let fixture = EngineFixture()
        let pool = fixture.openPool(1, maxPins: 1, limits: Self.limits)
        _ = pinned(fixture, pool)
        let newcomer = fixture.client(of: pool)
        fixture.send(query(create), from: newcomer)
        fixture.wait(.seconds(5))
        #expect(fixture.told.map(\.client) == [newcomer] && fixture.told.map(\.place) == [1])
        #expect(fixture.refused.isEmpty)
        fixture.wait(.seconds(25))
        #expect(fixture.told.count == 1)
        let refusal = try #require(fixture.refused.first?.refusal)
        #expect(refusal.bound == .pool(1) && refusal.waited == .seconds(30))
        #expect((refusal.place, refusal.waiting) == (1, 1))
        fixture.engine.refusePlace(
            newcomer, with: .error(.tooManyConnections, "none"), now: fixture.now)
        fixture.settle()
        #expect(messages(fixture, newcomer).contains("none"))
        #expect(!fixture.isWaiting(newcomer))
        #expect(fixture.pending(of: newcomer) == 0)
    }

    @Test func inATransactionSomethingThatFailsIsSentInItsPlace() throws {
        let fixture = EngineFixture()
        let pool = fixture.openPool(1, maxPins: 1, limits: Self.limits)
        _ = pinned(fixture, pool)
        let newcomer = fixture.client(of: pool)
        fixture.send(query("BEGIN"), from: newcomer)
        let server = try #require(fixture.server(of: newcomer))
        fixture.answer(completed("BEGIN", .inTransaction), from: server)
        fixture.send(query(create), from: newcomer)
        #expect(fixture.server(of: newcomer) == server)
        #expect(!fixture.isWaiting(newcomer))
        fixture.wait(.seconds(30))
        #expect(fixture.refused.count == 1)
        fixture.world.toServers[server] = []
        fixture.engine.refusePlace(
            newcomer, with: .error(.tooManyConnections, "it's $none$ \\"), now: fixture.now)
        fixture.settle()
        let sent = String(decoding: fixture.world.toServers[server] ?? [], as: UTF8.self)
        #expect(sent.contains("ERRCODE = E'53300', MESSAGE = E'it''s \\x24none\\x24 \\\\'"))
        #expect(!sent.contains("TEMP"))
        #expect(fixture.pending(of: newcomer) == 0)
    }

    @Test func aPlaceOfOneThatLeavesIsAnothers() throws {
        let fixture = EngineFixture()
        let pool = fixture.openPool(1, maxPins: 1, limits: Self.limits)
        let (holder, server) = pinned(fixture, pool)
        let first = fixture.client(of: pool)
        let second = fixture.client(of: pool)
        fixture.send(query(create), from: first)
        fixture.send(query(create), from: second)
        #expect(fixture.waitersToPin(in: pool) == [first, second])
        fixture.engine.close(first, because: "it left", now: fixture.now)
        fixture.settle()
        #expect(fixture.waitersToPin(in: pool) == [second])
        fixture.engine.close(holder, because: "it left", now: fixture.now)
        fixture.settle()
        #expect(fixture.server(of: second) != nil)
        #expect(fixture.server(of: second) != server)
        #expect(fixture.places == 1)
    }

    @Test func whatIsFoundAfterwardsHasNoPlaceEither() throws {
        let fixture = EngineFixture()
        let pool = fixture.openPool(1, maxPins: 1, limits: Self.limits)
        _ = pinned(fixture, pool)
        let newcomer = fixture.client(of: pool)
        fixture.send(query("DO $$ BEGIN PERFORM hidden(); END $$"), from: newcomer)
        let server = try #require(fixture.server(of: newcomer))
        fixture.answer(completed("DO"), from: server)
        fixture.answer(state("lock"), from: server)
        let refusal = try #require(fixture.refused.first)
        #expect(refusal.client == newcomer && refusal.refusal.waited == nil)
        #expect(refusal.refusal.reasons == .advisoryLocks)
        #expect(fixture.server(of: newcomer) == nil)
        #expect(fixture.pinReasons(of: server) == nil)
    }

    @Test func refuseAndDropKeepNothing() throws {
        let fixture = EngineFixture()
        let refusing = fixture.openPool(1, limits: Self.limits, sessionState: .refuse)
        let client = fixture.client(of: refusing)
        fixture.send(query(create), from: client)
        #expect(messages(fixture, client).contains("0A000"))
        #expect(fixture.server(of: client) == nil)
        let dropping = fixture.openPool(2, limits: Self.limits, sessionState: .drop)
        let other = fixture.client(of: dropping)
        fixture.send(query(create), from: other)
        let server = try #require(fixture.server(of: other))
        fixture.answer(completed("CREATE TABLE"), from: server)
        #expect(fixture.server(of: other) == nil)
        #expect(fixture.places == 0)
    }

    @Test func pinTimeoutEndsTheSession() {
        let fixture = EngineFixture()
        let pool = fixture.openPool(1, maxPins: 1, limits: Self.limits)
        let (holder, _) = pinned(fixture, pool)
        fixture.wait(.seconds(59))
        #expect(fixture.isKnown(holder))
        fixture.wait(.seconds(1))
        #expect(messages(fixture, holder).contains("pin_timeout of "))
        #expect(!fixture.isKnown(holder))
        #expect(fixture.places == 0)
    }
}

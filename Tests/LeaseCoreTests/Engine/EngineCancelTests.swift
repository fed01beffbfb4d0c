// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire
import Testing

/// Cancel requests that wait for their turn: two are on their way to one PostgreSQL at once.
struct EngineCancelTests {
    /// A server whose client left in the middle of a message, while two cancels of others keep its own waiting.
    private func leftBehind(
        _ fixture: EngineFixture, of pool: PoolID
    ) -> (before: [ServerID], server: ServerID) {
        let others = fixture.openPool(99)
        var before: [ServerID] = []
        for _ in 0..<2 {
            let (client, server) = fixture.busyClient(of: others)
            let canceller = fixture.engine.accept(
                isUnix: true, loginDeadline: nil, now: fixture.now)
            fixture.engine.cancelRequested(of: client, by: canceller, now: fixture.now)
            fixture.settle()
            before.append(server)
        }
        #expect(fixture.cancels == before)
        let (client, server) = fixture.busyClient(of: pool)
        // Half of a message that is passed on as it comes.
        var half: [UInt8] = []
        half.append(contentsOf: [UInt8(ascii: "d"), 0, 0, 4, 0, 1, 2, 3])
        fixture.send(half, from: client)
        fixture.engine.clientInputEnded(client, now: fixture.now)
        fixture.settle()
        return (before, server)
    }

    @Test func oneThatWaitsOutlivesItsConnection() {
        let fixture = EngineFixture()
        let pool = fixture.openPool(1)
        let (before, server) = leftBehind(fixture, of: pool)
        #expect(fixture.forgotten == [server])
        // Something runs on it: the shell makes what it needs to cancel that, and says no goodbye.
        #expect(fixture.closed == [server: false])
        #expect(!fixture.isKnown(server))
        // The shell keeps what it needs to send it.
        #expect(fixture.awaitsCancel(server))
        #expect(fixture.cancelsWaiting == [pool: 1])
        fixture.engine.cancelFinished(before[0], now: fixture.now)
        fixture.settle()
        #expect(fixture.cancels == before + [server])
        #expect(fixture.awaitsCancel(server))
        #expect(fixture.cancelsWaiting.isEmpty)
        fixture.engine.cancelFinished(server, now: fixture.now)
        fixture.settle()
        #expect(!fixture.awaitsCancel(server))
    }

    @Test func oneOfAPoolThatIsGoneIsStillCounted() {
        let fixture = EngineFixture()
        let pool = fixture.openPool(1)
        let (before, server) = leftBehind(fixture, of: pool)
        fixture.engine.order(.poolClosed(pool), now: fixture.now)
        fixture.settle()
        fixture.engine.forgetPool(pool)
        #expect(!fixture.isKnown(pool))
        #expect(fixture.cancelsWaiting == [pool: 1])
        // Its place is another's.
        let next = fixture.openPool(2)
        #expect(fixture.cancelsWaiting == [pool: 1])
        #expect(fixture.cancelsWaiting[next] == nil)
        fixture.engine.cancelFinished(before[0], now: fixture.now)
        fixture.settle()
        #expect(fixture.cancels.last == server)
    }

    @Test(arguments: [1, 3])
    func behindWhatIsCancelledNothingOfAPipelineRuns(messages: Int) {
        let fixture = EngineFixture()
        let (client, server) = fixture.busyClient(of: fixture.openPool(1))
        for _ in 1..<messages { fixture.send(fixture.query, from: client) }
        guard let lease = fixture.engine.servers[server].leaseID else {
            fatalError("a busy client has no lease")
        }
        let isKilled = fixture.engine.killLease(lease, now: fixture.now)
        fixture.settle()
        #expect(isKilled && fixture.cancels == [server])
        #expect(fixture.world.shutDowns == (messages == 1 ? [] : [server]))
        #expect(fixture.server(of: client) == nil && fixture.isKnown(client))
        // Each message is told of.
        let told = fixture.world.toClients[client, default: []]
        #expect(told.count { $0 == UInt8(ascii: "Z") } >= messages)
    }

    // MARK: While the client's settings are put in force

    private static let inForce: [UInt8] = {
        var bytes: [UInt8] = []
        for tag in ["BEGIN", "SET", "COMMIT"] { bytes.appendCommandComplete(tag) }
        bytes.appendReadyForQuery(.idle)
        return bytes
    }()

    private static let answer: [UInt8] = {
        var bytes: [UInt8] = []
        bytes.appendCommandComplete("SELECT 1")
        bytes.appendReadyForQuery(.idle)
        return bytes
    }()

    /// A client with a setting of its own, whose query waits for it (the first of its kind on a server) or follows
    /// it in one write, and one that has asked for it to be cancelled.
    private func cancelledAtOnce(
        _ fixture: EngineFixture, isFirst: Bool, query: [UInt8]? = nil
    ) throws -> (client: ClientID, server: ServerID, canceller: ClientID) {
        let client = fixture.client(
            of: fixture.openPool(1, size: 1),
            settings: [ProfileEntry(name: "statement_timeout", value: "9s")])
        if !isFirst {
            fixture.send(fixture.query, from: client)
            let server = try #require(fixture.server(of: client))
            fixture.answer(Self.inForce, from: server)
            fixture.answer(Self.answer, from: server)
            // Another's settings are in force now.
            let other = fixture.client(of: PoolID(1))
            fixture.send(fixture.query, from: other)
            fixture.answer(Self.inForce, from: server)
            fixture.answer(Self.answer, from: server)
        }
        fixture.send(query ?? fixture.query, from: client)
        let server = try #require(fixture.server(of: client))
        let canceller = fixture.engine.accept(isUnix: true, loginDeadline: nil, now: fixture.now)
        fixture.engine.cancelRequested(of: client, by: canceller, now: fixture.now)
        fixture.settle()
        return (client, server, canceller)
    }

    private static let queries: [[UInt8]] = {
        var plain: [UInt8] = []
        plain.appendQuery("SELECT 1")
        var calling: [UInt8] = []
        calling.appendQuery("SELECT pg_sleep(60)")
        var batch: [UInt8] = []
        batch.appendParse(name: "", query: "SELECT 1")
        batch.appendBind()
        batch.appendExecute()
        batch.appendSync()
        return [plain, calling, batch]
    }()

    @Test(arguments: [true, false], queries)
    func itStrikesWhatTheClientAskedForAndNotItsSettings(isFirst: Bool, query: [UInt8]) throws {
        let fixture = EngineFixture()
        let (client, server, canceller) = try cancelledAtOnce(
            fixture, isFirst: isFirst, query: query)
        #expect(fixture.cancels.isEmpty)
        #expect(fixture.isKnown(canceller))
        fixture.answer(Self.inForce, from: server)
        #expect(fixture.cancels == [server])
        #expect(fixture.server(of: client) == server && fixture.isOwing(server))
        fixture.engine.cancelFinished(server, now: fixture.now)
        fixture.settle()
        #expect(!fixture.isKnown(canceller))
    }

    @Test(arguments: [true, false])
    func whatIsAnsweredWithTheSettingsIsNotCancelled(isFirst: Bool) throws {
        let fixture = EngineFixture()
        let (client, server, canceller) = try cancelledAtOnce(fixture, isFirst: isFirst)
        if isFirst {
            fixture.engine.serverClosed(
                server, "the server closed the connection", now: fixture.now)
            fixture.settle()
        } else {
            fixture.answer(Self.inForce + Self.answer, from: server)
        }
        #expect(fixture.cancels.isEmpty)
        #expect(!fixture.isKnown(canceller))
        #expect(fixture.server(of: client) != server)
    }

    @Test func oneThatVanishesWithWhatItWantedCancelledIsForgotten() throws {
        let fixture = EngineFixture()
        let (client, server, canceller) = try cancelledAtOnce(fixture, isFirst: true)
        fixture.engine.clientInputEnded(canceller, now: fixture.now)
        fixture.engine.clientInputEnded(client, now: fixture.now)
        fixture.settle()
        fixture.answer(Self.inForce, from: server)
        #expect(!fixture.isKnown(canceller))
    }

    @Test func aBatchIsNotTimedWhileItWaitsForItsClient() throws {
        let fixture = EngineFixture()
        var limits = LeaseLimits()
        limits.query = .seconds(5)
        let client = fixture.client(of: fixture.openPool(1, limits: limits))
        var batch: [UInt8] = []
        batch.appendParse(name: "", query: "SELECT 1")
        batch.appendBind()
        batch.appendExecute()
        batch.appendFlush()
        fixture.send(batch, from: client)
        let server = try #require(fixture.server(of: client))
        fixture.wait(.seconds(2))
        var answers: [UInt8] = []
        answers.appendParseComplete()
        answers.appendBindComplete()
        answers.appendCommandComplete("SELECT 1")
        fixture.answer(answers, from: server)
        #expect(!fixture.isOwing(server))
        fixture.wait(.seconds(600))
        var sync: [UInt8] = []
        sync.appendSync()
        fixture.send(sync, from: client)
        #expect(fixture.isOwing(server))
        // Two seconds had passed, and three are left.
        fixture.wait(.seconds(2))
        #expect(fixture.server(of: client) == server)
        fixture.wait(.seconds(2))
        fixture.wait(.seconds(5))
        #expect(fixture.server(of: client) == nil)
    }

    // MARK: At rest

    @Test(arguments: ["N", "S"], [1, 4, 5, 9, 20])
    func whatMayComeAtAnyTimeMayComeInPieces(kind: String, cut: Int) throws {
        let fixture = EngineFixture()
        let (client, server) = fixture.busyClient(of: fixture.openPool(1, size: 1))
        fixture.answer(Self.answer, from: server)
        #expect(fixture.server(of: client) == nil)
        var words: [UInt8] = []
        if kind == "N" {
            words.appendNoticeResponse(
                PgError(severity: .notice, sqlState: .successfulCompletion, message: "to all"))
        } else {
            words.appendParameterStatus(name: "TimeZone", value: "Europe/Berlin")
        }
        fixture.answer(Array(words[..<cut]), from: server)
        fixture.answer(Array(words[cut...]), from: server)
        #expect(fixture.isKnown(server) && fixture.closed.isEmpty)
        fixture.answer(Array(words[..<cut]), from: server)
        fixture.send(fixture.query, from: client)
        #expect(fixture.server(of: client) == server)
        fixture.answer(Array(words[cut...]) + Self.answer, from: server)
        #expect(fixture.server(of: client) == nil)
        #expect(fixture.isKnown(server) && fixture.closed.isEmpty)
    }

    @Test(arguments: ["D", "E", "Z", "T", "1", "A"])
    func whatMayNotComeAtRestEndsTheConnection(kind: String) throws {
        let fixture = EngineFixture()
        let (_, server) = fixture.busyClient(of: fixture.openPool(1, size: 1))
        fixture.answer(Self.answer, from: server)
        fixture.answer(Array(kind.utf8) + [0, 0], from: server)
        #expect(fixture.closed[server] != nil)
    }
}

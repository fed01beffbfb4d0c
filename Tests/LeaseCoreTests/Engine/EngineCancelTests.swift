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
}

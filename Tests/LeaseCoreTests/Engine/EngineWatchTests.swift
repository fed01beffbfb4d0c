// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// What the engine wants to hear of from a socket.
struct EngineWatchTests {
    /// TLS may have to write before it can read.
    @Test func aReadThatWaitsForRoomIsWatchedForItOnce() {
        let fixture = EngineFixture()
        let (_, server) = fixture.busyClient(of: fixture.openPool(1))
        #expect(fixture.world.serverInterest[server] == .bytes)
        fixture.engine.awaitsRoom(server)
        #expect(fixture.world.serverInterest[server] == [.bytes, .room])
        fixture.engine.serverWritable(server, now: fixture.now)
        #expect(fixture.world.serverInterest[server] == .bytes)
    }
}

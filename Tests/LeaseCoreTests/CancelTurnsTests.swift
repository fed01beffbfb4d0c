// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// Which cancel requests go, and which wait.
struct CancelTurnsTests {
    private func connection(_ number: UInt32) -> ServerID {
        ServerID(slot: number, generation: 1)
    }

    @Test func aServerHasItsShareAndOthersTheirs() {
        var turns = CancelTurns(limit: 8, perServer: 2)
        #expect(turns.request(connection(1), of: 1) == .now)
        #expect(turns.request(connection(2), of: 1) == .now)
        #expect(turns.request(connection(3), of: 1) == .later)
        #expect(turns.request(connection(4), of: 2) == .now)
        #expect(turns.next() == nil)
        turns.finish(connection(1))
        #expect(turns.next() == connection(3))
        #expect(turns.next() == nil)
    }

    @Test func allTogetherLeaveRoom() {
        var turns = CancelTurns(limit: 3, perServer: 2)
        for number in 1...3 as ClosedRange<UInt32> {
            #expect(turns.request(connection(number), of: number) == .now)
        }
        #expect(turns.request(connection(4), of: 4) == .later)
        #expect(turns.next() == nil)
        turns.finish(connection(2))
        #expect(turns.next() == connection(4))
    }

    @Test func whoIsAskedForAgainWaitsOnce() {
        var turns = CancelTurns(limit: 8, perServer: 2)
        #expect(turns.request(connection(1), of: 1) == .now)
        // What is on its way may come before what runs now.
        #expect(turns.request(connection(1), of: 1) == .later)
        #expect(turns.request(connection(1), of: 1) == .joined)
        #expect(turns.waitingCount == 1)
        #expect(turns.next() == nil)
        turns.finish(connection(1))
        #expect(turns.next() == connection(1))
        #expect(turns.waitingCount == 0)
    }

    @Test func whatIsNotWantedAnyMoreDoesNotGo() {
        var turns = CancelTurns(limit: 8, perServer: 1)
        #expect(turns.request(connection(1), of: 1) == .now)
        #expect(turns.request(connection(2), of: 1) == .later)
        #expect(turns.request(connection(3), of: 1) == .later)
        turns.drop(connection(2))
        turns.drop(connection(9))
        turns.finish(connection(1))
        #expect(turns.next() == connection(3))
        turns.finish(connection(3))
        #expect(turns.next() == nil)
    }

    @Test func thoseBehindOneWhoseServerIsBusyDoNotWaitForIt() {
        var turns = CancelTurns(limit: 3, perServer: 1)
        for number in 1...3 as ClosedRange<UInt32> {
            #expect(turns.request(connection(number), of: number) == .now)
        }
        #expect(turns.request(connection(11), of: 1) == .later)
        #expect(turns.request(connection(12), of: 2) == .later)
        turns.finish(connection(2))
        #expect(turns.next() == connection(12))
    }

    /// Whatever comes: no bound is exceeded, and everything that waits goes in the end.
    @Test(arguments: 0..<50 as Range<UInt64>) func byChance(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var turns = CancelTurns(limit: 4, perServer: 2)
        var onTheirWay: [ServerID: UInt32] = [:]
        var waiting: Set<ServerID> = []
        func server(_ number: UInt32) -> UInt32 { number % 5 }
        for _ in 0..<400 {
            let number = UInt32.random(in: 0..<12, using: &random)
            let one = connection(number)
            switch Int.random(in: 0..<3, using: &random) {
            case 0:
                switch turns.request(one, of: server(number)) {
                case .now: #expect(onTheirWay.updateValue(server(number), forKey: one) == nil)
                case .later: #expect(waiting.insert(one).inserted)
                case .joined: #expect(waiting.contains(one))
                }
            case 1:
                if let done = onTheirWay.keys.min(by: { $0.slot < $1.slot }) {
                    onTheirWay[done] = nil
                    turns.finish(done)
                }
            default:
                turns.drop(one)
                waiting.remove(one)
            }
            while let next = turns.next() {
                #expect(waiting.remove(next) != nil)
                #expect(onTheirWay.updateValue(server(next.slot), forKey: next) == nil)
            }
            #expect(onTheirWay.count <= 4)
            for which in 0..<5 as Range<UInt32> {
                #expect(onTheirWay.values.count { $0 == which } <= 2)
            }
        }
        while let done = onTheirWay.keys.first {
            onTheirWay[done] = nil
            turns.finish(done)
            while let next = turns.next() {
                waiting.remove(next)
                onTheirWay[next] = server(next.slot)
            }
        }
        #expect(waiting.isEmpty && turns.waitingCount == 0)
    }
}

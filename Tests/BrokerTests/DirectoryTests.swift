// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

@testable import Broker

/// Who is there, by name and by number.
@Suite struct DirectoryTests {
    @Test func aGroupsNumberIsForTheNextName() {
        var groups = GroupDirectory()
        let first = groups.open("etl", GroupPolicy(), isConfigured: false)
        let second = groups.open("web", GroupPolicy(), isConfigured: false)
        #expect(!first.isKnown && !second.isKnown && first.group.id != second.group.id)
        #expect(groups["etl"] === first.group && groups[second.group.id] === second.group)
        groups.close(first.group)
        #expect(groups["etl"] == nil && groups[first.group.id] == nil)
        let third = groups.open("job", GroupPolicy(), isConfigured: false)
        #expect(third.isKnown && third.group.id == first.group.id)
        #expect(groups.all.count == 2)
        // What was counted outlives the group.
        let again = groups.open("etl", GroupPolicy(), isConfigured: false)
        #expect(again.group.times === first.group.times)
    }

    @Test func aCancelKeyIsItsOwnersToForget() {
        var keys = CancelKeys()
        let one = ClientID(slot: 1, generation: 1)
        let other = ClientID(slot: 2, generation: 1)
        let key = keys.register(one, processID: 7, isPeer: false)
        #expect(key.processID == 7 && keys[key] == one)
        #expect(keys.register(other, processID: 7, isPeer: false) != key)
        keys.forget(key, of: other)
        #expect(keys[key] == one)
        keys.forget(key, of: one)
        #expect(keys[key] == nil)
    }

    @Test func clientsAreCountedThreeWays() {
        var counts = ClientCounts()
        counts.join(database: "a", user: "ada")
        counts.join(database: "a", user: "bob")
        counts.join(database: "b", user: "ada")
        #expect(counts.byDatabase == ["a": 2, "b": 1])
        #expect(counts.byUser == ["ada": 2, "bob": 1])
        counts.leave(database: "b", user: "ada")
        // A name that nobody has is not kept.
        #expect(counts.byDatabase == ["a": 2])
        #expect(counts.byUser == ["ada": 1, "bob": 1])
    }

    @Test func aClientIsSilentThenThereThenGone() {
        var counts = ClientCounts()
        counts.connected()
        counts.connected()
        counts.arrive()
        #expect(counts.silent == 1 && counts.arrived == 1)
        counts.depart(hasArrived: true)
        counts.depart(hasArrived: false)
        #expect(counts.silent == 0 && counts.arrived == 0)
    }

    @Test func theSameNameHasTheSameNumber() {
        var numbers = PolicyNumbers()
        let app = numbers.database("app")
        #expect(numbers.database("other") != app && numbers.database("app") == app)
        #expect(numbers.place("app") == numbers.place("app"))
        // 0 is no key.
        #expect(app != 0 && numbers.user("app") != 0)
    }

    @Test func aProcessThatHasEndedIsAnotherWhenItsNumberComesAgain() {
        var processes = ProcessDirectory()
        let first = processes.open(4711, nil, now: .zero)
        let second = processes.open(4711, nil, now: .zero)
        #expect(first.id != second.id && first.hasEnded)
        processes.forgetIdentity(of: first)
    }
}

/// When the loop keeps house.
@Suite struct LoopTurnTests {
    @Test func theEarliestMomentCountsAndOnce() {
        var turn = LoopTurn()
        func at(_ seconds: Int64) -> Instant { Instant(nanoseconds: seconds * 1_000_000_000) }
        let due1 = turn.isHouseDue(at(9))
        #expect(!due1)
        turn.keepHouse(by: at(5))
        turn.keepHouse(by: at(3))
        turn.keepHouse(by: at(4))
        let due2 = turn.isHouseDue(at(2))
        #expect(!due2)
        let due3 = turn.isHouseDue(at(3))
        #expect(due3)
        let due4 = turn.isHouseDue(at(9))
        #expect(!due4)
    }
}

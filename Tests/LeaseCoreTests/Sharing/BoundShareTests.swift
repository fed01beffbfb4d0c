// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// Where a sidecar asks, and what its answers are worth meanwhile.
struct BoundShareTests {
    private static func moment(_ milliseconds: Int64) -> Instant {
        Instant(nanoseconds: 1_000_000_000_000 + milliseconds * 1_000_000)
    }

    private static func answer(share: Int, target: Int) -> ShareAnswer {
        ShareAnswer(
            share: share, target: target, free: 0, total: 40, hosts: 8, period: 5000, era: "1",
            clock: 0)
    }

    /// One that has asked once, and has had that answer.
    private static func share(_ share: Int, target: Int, asksApart: Bool = false) -> BoundShare {
        var machine = BoundShare(seed: 1, asksApart: asksApart)
        let first = machine.ask(used: 0, isWithin: false, moment(0))
        machine.take(answer(share: share, target: target), to: first.number, moment(10))
        return machine
    }

    @Test
    func `the first question has no place of its own`() {
        var machine = BoundShare(seed: 1)
        #expect(machine.turn(used: 0, Self.moment(0)) == .ask(isWithin: false))
    }

    @Test
    func `with a place left it asks there, and says so`() {
        var machine = Self.share(5, target: 5)
        #expect(machine.turn(used: 4, Self.moment(20)) == .later)
        #expect(machine.turn(used: 4, Self.moment(6000)) == .ask(isWithin: true))
        #expect(machine.ask(used: 4, isWithin: true, Self.moment(6000)).used == 5)
        #expect(machine.asksWithin)
    }

    @Test
    func `a full one frees a place, and waits for it a while`() {
        var machine = Self.share(5, target: 5)
        #expect(machine.turn(used: 5, Self.moment(6000)) == .later)
        #expect(machine.makesRoom)
        #expect(machine.allowance.limit == 4)
        #expect(machine.turn(used: 4, Self.moment(6010)) == .ask(isWithin: true))
        // Nobody came back.
        #expect(machine.turn(used: 5, Self.moment(6300)) == .ask(isWithin: false))
    }

    @Test
    func `an answer that was waited for too long is none`() {
        var machine = Self.share(5, target: 5)
        let late = machine.ask(used: 2, isWithin: true, Self.moment(6000))
        machine.take(Self.answer(share: 9, target: 9), to: late.number, Self.moment(11_000))
        #expect(machine.answer == Self.answer(share: 5, target: 5))
        #expect(machine.allowance.until == .zero)
    }

    @Test
    func `a place beyond what it is due is not held for questions`() {
        var machine = Self.share(5, target: 3)
        #expect(machine.turn(used: 4, Self.moment(6000)) == .later)
        #expect(machine.allowance.limit == 2)
        #expect(machine.turn(used: 2, Self.moment(6010)) == .ask(isWithin: true))
    }

    @Test
    func `what a lost question may have cost is no place to ask on`() {
        var machine = Self.share(5, target: 5)
        let lost = machine.ask(used: 2, isWithin: true, Self.moment(6000))
        machine.giveUp("no answer", Self.moment(11_000))
        #expect(lost.used == 3)
        #expect(machine.turn(used: 3, Self.moment(17_000)) == .later)
        #expect(machine.turn(used: 2, Self.moment(17_010)) == .ask(isWithin: true))
    }

    @Test
    func `refused for want of room, it goes on opening, and frees a place for the next question`() {
        var machine = Self.share(5, target: 5)
        let refused = machine.ask(used: 3, isWithin: true, Self.moment(6000))
        machine.crowdedOut("too many connections for role", of: refused.number, Self.moment(6005))
        #expect(machine.allowance.until > Self.moment(20_000))
        #expect(machine.turn(used: 3, Self.moment(7000)) == .later)
        #expect(machine.allowance.limit == 2)
        #expect(machine.turn(used: 2, Self.moment(7010)) == .ask(isWithin: true))
        #expect(!machine.isCrowdedOut)
    }

    @Test
    func `a void answer gives no place`() {
        var machine = Self.share(5, target: 5)
        machine.void()
        #expect(machine.turn(used: 0, Self.moment(6000)) == .ask(isWithin: false))
        #expect(machine.allowance.until == .zero)
    }

    @Test
    func `without a connection the one that asked is kept, or the answer opens nothing`() {
        var machine = Self.share(5, target: 5)
        #expect(machine.allowance.alone == .zero)
        #expect(machine.needsWitness)
        let question = machine.ask(used: 0, isWithin: false, Self.moment(6000))
        machine.take(
            Self.answer(share: 5, target: 5), to: question.number, isKept: true, Self.moment(6010))
        #expect(machine.allowance.alone == Self.moment(10_010))
        machine.dismissWitness()
        #expect(machine.allowance.alone == .zero)
        #expect(machine.allowance.until == Self.moment(31_000))
    }

    @Test
    func `the last connection is not closed for a question`() {
        var machine = Self.share(1, target: 1)
        #expect(machine.turn(used: 1, Self.moment(6000)) == .ask(isWithin: false))
        #expect(!machine.makesRoom)
    }

    @Test
    func `one that has no place gives a question up sooner, and each after it later`() {
        var machine = Self.share(0, target: 1)
        let lost = machine.ask(used: 0, isWithin: false, Self.moment(6000))
        #expect(!machine.isOverdue(Self.moment(7999)))
        #expect(machine.isOverdue(Self.moment(8000)))
        machine.fail("no answer", to: lost.number, Self.moment(8000))
        _ = machine.ask(used: 0, isWithin: false, Self.moment(9000))
        #expect(!machine.isOverdue(Self.moment(12_999)))
        #expect(machine.isOverdue(Self.moment(13_000)))

        var other = Self.share(5, target: 5)
        _ = other.ask(used: 0, isWithin: false, Self.moment(6000))
        #expect(!other.isOverdue(Self.moment(10_999)))
    }

    @Test
    func `who waits does not ask again at once after a refusal for want of room`() {
        var machine = Self.share(0, target: 1)
        let refused = machine.ask(used: 0, isWithin: false, Self.moment(6000))
        machine.crowdedOut("too many connections for role", of: refused.number, Self.moment(6005))
        machine.hurry(Self.moment(6005))
        #expect(machine.turn(used: 0, Self.moment(6005)) == .later)
        #expect(machine.deadline >= Self.moment(6030))
        #expect(machine.deadline <= Self.moment(6105))
    }

    @Test
    func `where PostgreSQL bounds the askers none of its own places is freed`() {
        var machine = Self.share(5, target: 5, asksApart: true)
        #expect(machine.turn(used: 5, Self.moment(6000)) == .ask(isWithin: false))
        #expect(!machine.makesRoom)
        #expect(machine.ask(used: 5, isWithin: false, Self.moment(6000)).used == 5)
    }
}

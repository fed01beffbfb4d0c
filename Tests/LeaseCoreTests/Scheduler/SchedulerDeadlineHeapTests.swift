// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LeaseCore

struct SchedulerDeadlineHeapTests {
    @Test func givesBackWhatIsDueInOrder() throws {
        var heap = DeadlineHeap()
        var random = SeededGenerator(seed: 3)
        var model: [Int: Int64] = [:]
        for _ in 0..<2000 {
            let slot = Int.random(in: 0..<60, using: &random)
            let token = DeadlineToken(.server, slot)
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                heap.remove(token)
                model[slot] = nil
            case 1:
                let due = Int64.random(in: 0..<50, using: &random)
                while let popped = heap.popDue(Instant(nanoseconds: due)) {
                    let taken = model.removeValue(forKey: popped.slot)
                    let at = try #require(taken)
                    #expect(at <= due)
                    #expect(model.values.allSatisfy { $0 >= at })
                }
                #expect(model.values.allSatisfy { $0 > due })
            default:
                let at = Int64.random(in: 0..<100, using: &random)
                heap.set(token, at: Instant(nanoseconds: at))
                model[slot] = at
            }
            try heap.checkInvariants()
            #expect(heap.first?.nanoseconds == model.values.min())
            #expect(heap.deadline(of: token)?.nanoseconds == model[slot])
        }
    }
}

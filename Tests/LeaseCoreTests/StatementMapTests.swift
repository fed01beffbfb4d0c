// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import LeaseCore

struct StatementMapTests {
    /// Against a dictionary, with slots that share their guesses.
    @Test(arguments: 0..<20 as Range<UInt64>)
    func isADictionary(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var map = StatementMap<Int>()
        var expected: [StatementID: Int] = [:]
        for step in 0..<2000 {
            let id = StatementID(slot: UInt32.random(in: 0..<8, using: &random) * 64)
            switch Int.random(in: 0..<4, using: &random) {
            case 0:
                map[id] = step
                expected[id] = step
            case 1:
                #expect(map.remove(id) == expected.removeValue(forKey: id))
            case 2:
                let position = map.position(of: id)
                #expect(position.map { map.values[$0] } == expected[id])
            default:
                #expect(map[id] == expected[id])
            }
            #expect(map.count == expected.count)
        }
        #expect(Dictionary(uniqueKeysWithValues: map.all.map { ($0, $1) }) == expected)
        map.removeAll()
        #expect(map.count == 0 && map.position(of: StatementID(slot: 0)) == nil)
    }
}

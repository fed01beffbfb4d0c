// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

@Suite struct ByteTableTests {
    private func key(_ text: String) -> [UInt8] { Array(text.utf8) }

    @Test func holdsWhatWasPutIn() {
        var table = ByteTable<Int>()
        #expect(table.isEmpty)
        for number in 0..<500 {
            key("s\(number)").withUnsafeBytes { table.insert(number, for: $0) }
        }
        #expect(table.count == 500)
        for number in stride(from: 0, to: 500, by: 2) {
            #expect(key("s\(number)").withUnsafeBytes { table.remove($0) } == number)
        }
        for number in 0..<500 {
            let value = key("s\(number)").withUnsafeBytes { table.value(for: $0) }
            #expect(value == (number.isMultiple(of: 2) ? nil : number))
        }
        #expect(key("none").withUnsafeBytes { table.remove($0) } == nil)
        var sum = 0
        table.forEachValue { sum += $0 }
        #expect(sum == stride(from: 1, to: 500, by: 2).reduce(0, +))
        table.removeAll()
        #expect(table.isEmpty)
    }

    @Test func aSecondValueTakesTheFirstOnesPlace() {
        var table = ByteTable<Int>()
        key("").withUnsafeBytes { table.insert(1, for: $0) }
        key("").withUnsafeBytes { table.insert(2, for: $0) }
        #expect(table.count == 1)
        #expect(key("").withUnsafeBytes { table.value(for: $0) } == 2)
    }

    /// Pairs whose 64 bits of FNV-1a are the same.
    static let collisions = [
        ("8yn0iYCKYHlIj4-BwPqk", "GReLUrM4wMqfg9yzV3KQ"),
        ("gMPflVXtwGDXbIhP73TX", "LtHf1prlU1bCeYZEdqWf"),
    ]

    @Test(arguments: collisions) func keysThatCollideStayApart(_ first: String, _ second: String) {
        for (gone, left) in [(first, second), (second, first)] {
            var table = ByteTable<String>()
            for text in [first, second] {
                key(text).withUnsafeBytes { table.insert(text, for: $0) }
            }
            #expect(table.count == 2)
            #expect(key(first).withUnsafeBytes { table.value(for: $0) } == first)
            #expect(key(second).withUnsafeBytes { table.value(for: $0) } == second)
            #expect(key(gone).withUnsafeBytes { table.remove($0) } == gone)
            #expect(key(gone).withUnsafeBytes { table.value(for: $0) } == nil)
            #expect(key(left).withUnsafeBytes { table.value(for: $0) } == left)
        }
    }
}

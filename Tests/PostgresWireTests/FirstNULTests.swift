// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

struct FirstNULTests {
    @Test func findsTheFirstAtEachPlace() {
        for count in 0...35 {
            for place in 0..<count {
                for filler in [UInt8(1), 0x7f, 0x80, 0xff] {
                    var bytes = [UInt8](repeating: filler, count: count)
                    bytes[place] = 0
                    if place + 3 < count { bytes[place + 3] = 0 }
                    for offset in 0...place {
                        let found = bytes.withUnsafeBytes { firstNUL(in: $0, from: offset) }
                        #expect(found == place, "\(count) \(place) \(filler) \(offset)")
                    }
                    let behind = bytes.withUnsafeBytes { firstNUL(in: $0, from: place + 1) }
                    #expect(behind == (place + 3 < count ? place + 3 : nil))
                }
            }
        }
    }

    @Test func findsNoneWhereThereIsNone() {
        for count in 0...20 {
            let bytes = [UInt8](repeating: 1, count: count)
            #expect(bytes.withUnsafeBytes { firstNUL(in: $0, from: 0) } == nil)
        }
    }
}

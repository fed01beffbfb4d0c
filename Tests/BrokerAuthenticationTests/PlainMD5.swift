// SPDX-License-Identifier: Apache-2.0

/// MD5 in its plainest form (RFC 1321). Not for use outside of tests.
func plainMD5(_ message: [UInt8]) -> [UInt8] {
    let turns: [[UInt32]] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]]
    var padded = message + [0x80]
    while padded.count % 64 != 56 { padded.append(0) }
    let bits = UInt64(message.count) * 8
    for shift in stride(from: 0, to: 64, by: 8) {
        padded.append(UInt8(truncatingIfNeeded: bits >> UInt64(shift)))
    }
    var state: [UInt32] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476]
    for start in stride(from: 0, to: padded.count, by: 64) {
        let words = stride(from: start, to: start + 64, by: 4).map { at in
            (0..<4).reduce(UInt32(0)) { $0 | UInt32(padded[at + $1]) << UInt32(8 * $1) }
        }
        var (a, b, c, d) = (state[0], state[1], state[2], state[3])
        for index in 0..<64 {
            let mixed: UInt32
            let word: Int
            switch index / 16 {
            case 0: (mixed, word) = (b & c | ~b & d, index)
            case 1: (mixed, word) = (d & b | ~d & c, (5 * index + 1) % 16)
            case 2: (mixed, word) = (b ^ c ^ d, (3 * index + 5) % 16)
            default: (mixed, word) = (c ^ (b | ~d), 7 * index % 16)
            }
            let sum = a &+ mixed &+ plainMD5Constants[index] &+ words[word]
            let distance = turns[index / 16][index % 4]
            (a, d, c, b) = (d, c, b, b &+ (sum << distance | sum >> (32 - distance)))
        }
        state[0] &+= a
        state[1] &+= b
        state[2] &+= c
        state[3] &+= d
    }
    return state.flatMap { word in
        [0, 8, 16, 24].map { UInt8(truncatingIfNeeded: word >> UInt32($0)) }
    }
}

/// The whole parts of 2^32 times the sines of 1 to 64, by their series.
private let plainMD5Constants: [UInt32] = (1...64).map { number in
    var angle = Double(number)
    while angle > Double.pi { angle -= 2 * Double.pi }
    var term = angle
    var sum = angle
    for step in 1..<30 {
        term *= -angle * angle / Double(2 * step * (2 * step + 1))
        sum += term
    }
    return UInt32(sum.magnitude * 4_294_967_296)
}

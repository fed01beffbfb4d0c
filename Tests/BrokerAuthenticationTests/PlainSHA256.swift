// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import PostgresWire

/// SHA-256 in its plainest form, so that SCRAM is tested without a C library. Not for use outside
/// of tests: nothing in it is constant in time.
struct PlainScramArithmetic: ScramArithmetic {
    func sha256(_ message: [UInt8]) -> [UInt8] {
        var padded = message + [0x80]
        while padded.count % 64 != 56 { padded.append(0) }
        let bitCount = UInt64(message.count) * 8
        for shift in stride(from: 56, through: 0, by: -8) {
            padded.append(UInt8(truncatingIfNeeded: bitCount >> UInt64(shift)))
        }
        var state = Self.initial
        for start in stride(from: 0, to: padded.count, by: 64) {
            Self.compress(padded[start..<(start + 64)], into: &state)
        }
        return state.flatMap { word in
            [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: word >> UInt32($0)) }
        }
    }

    func hmacSHA256(key: [UInt8], _ message: [UInt8]) -> [UInt8] {
        var block = key.count > 64 ? sha256(key) : key
        block += Array(repeating: 0, count: 64 - block.count)
        return sha256(block.map { $0 ^ 0x5c } + sha256(block.map { $0 ^ 0x36 } + message))
    }

    func pbkdf2SHA256(password: [UInt8], salt: [UInt8], iterations: Int) -> [UInt8] {
        var block = hmacSHA256(key: password, salt + [0, 0, 0, 1])
        var result = block
        for _ in 1..<iterations {
            block = hmacSHA256(key: password, block)
            for index in result.indices { result[index] ^= block[index] }
        }
        return result
    }

    func md5(_ message: [UInt8]) -> [UInt8]? { plainMD5(message) }

    func equal(_ first: [UInt8], _ second: [UInt8]) -> Bool { first == second }

    /// The first 32 bits of the fractions of the square roots of the first 8 primes.
    private static let initial: [UInt32] = primes(8).map { fraction(Double($0).squareRoot()) }

    /// The same of the cube roots of the first 64.
    private static let constants: [UInt32] = primes(64).map { prime in
        // Newton's iteration: the standard library has no cube root.
        var root = Double(prime)
        for _ in 0..<64 { root -= (root * root * root - Double(prime)) / (3 * root * root) }
        return fraction(root)
    }

    private static func fraction(_ value: Double) -> UInt32 {
        UInt32((value - value.rounded(.down)) * 4_294_967_296)
    }

    private static func primes(_ count: Int) -> [Int] {
        var found: [Int] = []
        var candidate = 2
        while found.count < count {
            if found.allSatisfy({ candidate % $0 != 0 }) { found.append(candidate) }
            candidate += 1
        }
        return found
    }

    private static func rotated(_ word: UInt32, _ distance: UInt32) -> UInt32 {
        word >> distance | word << (32 - distance)
    }

    private static func compress(_ block: ArraySlice<UInt8>, into state: inout [UInt32]) {
        let bytes = Array(block)
        var words: [UInt32] = stride(from: 0, to: 64, by: 4).map { start in
            bytes[start..<(start + 4)].reduce(0) { $0 << 8 | UInt32($1) }
        }
        for index in 16..<64 {
            let near = words[index - 2]
            let far = words[index - 15]
            let first = rotated(far, 7) ^ rotated(far, 18) ^ far >> 3
            let second = rotated(near, 17) ^ rotated(near, 19) ^ near >> 10
            words.append(words[index - 16] &+ first &+ words[index - 7] &+ second)
        }
        var work = state
        for index in 0..<64 {
            let mixed = rotated(work[4], 6) ^ rotated(work[4], 11) ^ rotated(work[4], 25)
            let choice = work[4] & work[5] ^ ~work[4] & work[6]
            let first = work[7] &+ mixed &+ choice &+ constants[index] &+ words[index]
            let turned = rotated(work[0], 2) ^ rotated(work[0], 13) ^ rotated(work[0], 22)
            let majority = work[0] & work[1] ^ work[0] & work[2] ^ work[1] & work[2]
            work = [
                first &+ turned &+ majority, work[0], work[1], work[2], work[3] &+ first,
                work[4], work[5], work[6],
            ]
        }
        for index in state.indices { state[index] = state[index] &+ work[index] }
    }
}

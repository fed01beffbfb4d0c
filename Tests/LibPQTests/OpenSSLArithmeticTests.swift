// SPDX-License-Identifier: Apache-2.0

import LibPQ
import Testing

@Suite
struct OpenSSLArithmeticTests {
    private let arithmetic = OpenSSLArithmetic()

    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { byte in
            let text = String(byte, radix: 16)
            return text.count == 1 ? "0" + text : text
        }.joined()
    }

    @Test func sha256OfTheStandardsExamples() {
        #expect(
            hexadecimal(arithmetic.sha256([]))
                == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        #expect(
            hexadecimal(arithmetic.sha256(Array("abc".utf8)))
                == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    }

    @Test func hmacOfRFC4231() {
        #expect(
            hexadecimal(
                arithmetic.hmacSHA256(
                    key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8)))
                == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843")
        #expect(
            hexadecimal(arithmetic.hmacSHA256(key: [], []))
                == "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad")
    }

    @Test func pbkdf2OfRFC7914() {
        // The RFC's value has 64 bytes; the first 32 are what a single block gives.
        #expect(
            hexadecimal(
                arithmetic.pbkdf2SHA256(
                    password: Array("passwd".utf8), salt: Array("salt".utf8), iterations: 1))
                == "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc")
        #expect(arithmetic.pbkdf2SHA256(password: [], salt: [1], iterations: 2).count == 32)
    }

    @Test func comparisonAndRandomness() {
        #expect(arithmetic.equal([1, 2], [1, 2]))
        #expect(!arithmetic.equal([1, 2], [1, 3]))
        #expect(!arithmetic.equal([1, 2], [1, 2, 3]))
        #expect(arithmetic.equal([], []))
        #expect(arithmetic.randomBytes(0).isEmpty)
        #expect(arithmetic.randomBytes(16).count == 16)
        #expect(arithmetic.randomBytes(16) != arithmetic.randomBytes(16))
    }
}

// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import Testing

@testable import Workers

/// Passwords as Python's `cryptography` (48.0.0, `AESGCM`) has sealed them.
@Suite struct CredentialCipherTests {
    private static let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    private static let hexadecimal =
        "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"
    private static let right = "ZGVmZ2hpamtsbW5vOnK5Dg0sZjWKmBZxp1ZSyeoA0Q/1"

    @Test("what is sealed is opened, whatever the key is written in")
    func opened() throws {
        for key in [
            Self.base64, Self.hexadecimal, String(Self.base64.dropLast()),
        ] {
            let cipher = try CredentialCipher(key: key)
            #expect(cipher.password(from: Self.right) == "right")
            #expect(
                cipher.password(
                    from: "ZGVmZ2hpamtsbW5vONh6FQrJIV2IEDvI/R1NoZH/kWbcf8GepFMMoK597LA=")
                    == #"päss wörd 'x'\"#)
            #expect(cipher.password(from: "ZGVmZ2hpamtsbW5vYJvVD2rXbfZl8Ei6jF/XBg==") == "")
        }
        let plain = try CredentialCipher(key: "a key of thirty-two bytes, plain")
        #expect(
            plain.password(from: "ZGVmZ2hpamtsbW5vResQQZr+3cLqMoru/pn75nY5TAEz") == "right")
    }

    @Test("what cannot be opened is a password as it is")
    func asItIs() throws {
        let cipher = try CredentialCipher(key: Self.base64)
        var changed = Array(Self.right)
        changed[18] = "A"
        for text in [
            "", "right", "cmlnaHQ=", String(repeating: "A", count: 36), String(changed),
            String(Self.right.dropLast(4)),
            // Sealed with another key, and sealed bytes that are no text.
            "ZGVmZ2hpamtsbW5vResQQZr+3cLqMoru/pn75nY5TAEz",
            "ZGVmZ2hpamtsbW5vt+XZb+RUdvB+LGHiM4xEnlNg",
        ] {
            #expect(cipher.password(from: text) == text)
        }
    }

    @Test("a key that is none is refused, without being shown")
    func refused() {
        for key in ["short", String(repeating: "0", count: 62), String(repeating: "x", count: 33)] {
            #expect(throws: CredentialKeyError.self) { try CredentialCipher(key: key) }
        }
        #expect(!CredentialKeyError().description.contains("short"))
    }

    @Test("clients are given what is opened, or the text of the row")
    func clients() throws {
        let row = DatabaseAddress(
            host: "h", port: 1, database: "d", user: "u", password: Self.right)
        let configuration = try LeaseConfiguration()
        for (credentials, password) in [
            (try CredentialCipher(key: Self.base64), "right"), (nil, Self.right),
        ] {
            let clients = DatabaseClients(
                route: nil, applicationName: "a", configuration: configuration,
                credentials: credentials)
            #expect(clients.password(of: row) == password)
        }
    }
}

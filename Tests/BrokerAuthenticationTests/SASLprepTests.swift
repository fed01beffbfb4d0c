// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import BrokerAuthentication

@Suite("SASLprep")
struct SASLprepTests {
    private static func prepared(_ password: String) -> String {
        String(decoding: SASLprep.prepare(Array(password.utf8)), as: UTF8.self)
    }

    /// Compared as scalars: to Swift, two normal forms of a text are equal.
    private static func scalars(_ text: String) -> [UInt32] { text.unicodeScalars.map(\.value) }

    @Test(
        "RFC 4013, section 3, and what people type",
        arguments: [
            ("I\u{AD}X", "IX"), ("user", "user"), ("USER", "USER"), ("\u{AA}", "a"),
            ("\u{2168}", "IX"), ("a\u{A0}b", "a b"), ("u\u{308}ber", "\u{FC}ber"),
            ("\u{FC}ber", "\u{FC}ber"), ("\u{3000}\u{FF41}", " a"), ("a\u{200B}b", "a b"),
            ("\u{FB01}", "fi"), ("\u{212B}", "\u{C5}"), ("\u{1E9B}\u{323}", "\u{1E69}"),
            ("a\u{301}\u{327}", "\u{E1}\u{327}"), ("q\u{307}\u{323}", "q\u{323}\u{307}"),
            ("\u{1100}\u{1161}\u{11A8}", "\u{AC01}"), ("\u{AC01}", "\u{AC01}"),
            (
                "\u{FDFA}",
                "\u{635}\u{644}\u{649} \u{627}\u{644}\u{644}\u{647} "
                    + "\u{639}\u{644}\u{64A}\u{647} \u{648}\u{633}\u{644}\u{645}"
            ),
            ("\u{1D7D8}\u{1D7E1}", "09"), ("\u{F900}", "\u{8C48}"),
            ("\u{627}1\u{628}", "\u{627}1\u{628}"),
        ])
    func prepares(password: String, wanted: String) {
        #expect(Self.scalars(Self.prepared(password)) == Self.scalars(wanted))
    }

    @Test(
        "What cannot be prepared stays as it is",
        arguments: [
            "\u{AD}", "\u{7F}\u{AA}", "\u{AA}\u{7}", "\u{AA}\u{85}", "\u{AA}\u{E000}",
            "\u{AA}\u{FFFD}", "\u{AA}\u{2FF0}", "\u{AA}\u{340}", "\u{AA}\u{E0041}",
            // Letters of both directions, and one from right to left that ends with a digit.
            "\u{627}\u{AA}\u{628}", "\u{627}1", "1\u{627}",
            // Unknown to Unicode 3.2.
            "\u{AA}\u{221}", "\u{AA}\u{1F600}", "",
        ])
    func leaves(password: String) {
        #expect(Self.scalars(Self.prepared(password)) == Self.scalars(password))
    }

    @Test(
        "Bytes that are not UTF-8 stay as they are",
        arguments: [[0xFC], [0xC2, 0xAA, 0xFF], [0xED, 0xA0, 0x80], [0xC0, 0x80]] as [[UInt8]])
    func rawBytes(password: [UInt8]) {
        #expect(SASLprep.prepare(password) == password)
    }

    @Test("A secret is that of the prepared password")
    func secret() {
        func derive(_ password: String) -> ScramSecret {
            ScramSecret.derive(
                password: password, salt: [1, 2, 3], iterations: 2,
                arithmetic: PlainScramArithmetic())
        }
        #expect(derive("u\u{308}\u{A0}\u{AA}\u{AD}") == derive("\u{FC} a"))
        #expect(derive("\u{AD}") != derive(""))
    }
}

// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import PostgresWire

/// What the broker writes of holders, a client reads, whatever they are called.
@Suite struct HolderListTests {
    /// Names that are made to be taken for the grammar itself.
    private static let hostile = [
        "", " ", "\"", "\\", "\\\"", "a, b", "a) b", "(", ")", "), pid 1 \"x\" for 9.9 s (idle",
        "x\" for 1.0 s (idle)", "and 3 more.", ".", "Held by: pid 1 for 1.0 s (idle).",
        "größer 日本語", "\u{202E}evil", "é\u{301}", ", for \"x\"", "\\\\", "x\\",
    ]

    private func isReadBack(_ holders: [HolderText], more: Int = 0) -> Bool {
        let detail = "All of it (pool_size).\n" + HolderList.line(holders, more: more)
        return HolderList.read(detail) == holders
    }

    @Test(arguments: hostile)
    func hostileNamesAreReadBack(name: String) {
        for other in Self.hostile {
            let first = HolderText(
                .process(4711), program: name, heldFor: .milliseconds(3200),
                activity: "idle in transaction", thread: other, purpose: name)
            let second = HolderText(
                .client("7.1"), program: other, heldFor: .zero, activity: "direct", purpose: other)
            #expect(isReadBack([first, second]))
            #expect(isReadBack([second, first], more: 12))
        }
    }

    @Test func nothingThatIsLeftOutIsReadBack() {
        let bare = HolderText(
            .process(1), program: "", heldFor: .seconds(100_000), activity: "active")
        #expect(HolderList.line([bare]) == "Held by: pid 1 for 100000.0 s (active).")
        #expect(isReadBack([bare]))
    }

    @Test func aLineIsOneLineAndSteersNoTerminal() {
        let name = "a\nb\r\t\u{1B}[2J\u{85}\u{2028}c\0"
        let line = HolderList.line([
            HolderText(
                .client("7"), program: name, heldFor: .milliseconds(149), activity: "idle",
                thread: name, purpose: name)
        ])
        let shown = "a b  ?[2J? c?"
        #expect(
            line
                == "Held by: client 7 \"\(shown)\" for 0.1 s (idle, thread \"\(shown)\", for \"\(shown)\")."
        )
        #expect(HolderList.read(line).first?.program == shown)
    }

    @Test(arguments: [
        "", "No lease is held in this pool: its connections are being opened.", "Held by: .",
        "Held by: pid 1 for 1.0 s (idle)", "Held by: pid 1 for 1 s (idle).",
        "Held by: pid for 1.0 s (idle).", "Held by: pid 1 \"x for 1.0 s (idle).",
        "Held by: pid 1 for 1.0 s (idle), .", "Held by: pid 1 for 1.0 s (idle), and more.",
        "Held by: pid 1 for 1.0 s (idle, for x).", "Held by: pid 1 for 1.0 s (idle).\nMore.",
        "Held by: pid 99999999999999999999 for 1.0 s (idle).", "Held by: pid 1 \"x\\",
    ])
    func whatDoesNotKeepToTheGrammarNamesNobody(detail: String) {
        #expect(HolderList.read(detail).isEmpty)
    }
}

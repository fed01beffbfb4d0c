// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@Suite("LEASE and LEASE RETURN as texts")
struct LeaseCommandTests {
    private func read(_ text: String) -> LeaseCommand.Reading {
        withBytes(of: text) { LeaseCommand.read($0) }
    }

    private static func terms(
        direct: Bool = false, wait: Duration? = nil, hold: Duration? = nil,
        purpose: String? = nil, thread: String? = nil
    ) -> LeaseTerms {
        var terms = LeaseTerms()
        terms.isDirect = direct
        terms.wait = wait
        terms.hold = hold
        terms.purpose = purpose
        terms.thread = thread
        return terms
    }

    // MARK: What it says

    static let acquisitions: [(String, LeaseTerms)] = [
        ("LEASE", terms()), ("lease", terms()), ("LeAsE;", terms()),
        (" \t\r\n\u{b}\u{c}lease", terms()),
        ("LEASE ; ; -- done", terms()), ("LEASE;;", terms()),
        ("-- why\nLEASE", terms()), ("/* a /* b */ c */lease/**/;/**/", terms()),
        ("--x\rLEASE--", terms()),
        ("LEASE DIRECT", terms(direct: true)), ("lease direct;", terms(direct: true)),
        ("LEASE/**/DIRECT--", terms(direct: true)),
        ("LEASE WAIT '2s'", terms(wait: .seconds(2))),
        ("LEASE WAIT'0'", terms(wait: .zero)),
        ("LEASE WAIT '500ms'", terms(wait: .milliseconds(500))),
        ("LEASE WAIT '2'", terms(wait: .seconds(2))),
        ("LEASE WAIT '1.5 S'", terms(wait: .milliseconds(1500))),
        ("LEASE WAIT /* soon */ '1min'", terms(wait: .seconds(60))),
        ("LEASE HOLD '30s'", terms(hold: .seconds(30))),
        ("LEASE HOLD '0.001'", terms(hold: .milliseconds(1))),
        ("LEASE FOR 'backfill.pendingJobs'", terms(purpose: "backfill.pendingJobs")),
        ("LEASE FOR ''", terms(purpose: "")), ("LEASE FOR ''''", terms(purpose: "'")),
        ("LEASE FOR 'it''s'", terms(purpose: "it's")),
        ("LEASE FOR '''a'''''", terms(purpose: "'a''")),
        ("LEASE FOR '-- /* ; \\ \"'", terms(purpose: "-- /* ; \\ \"")),
        ("LEASE FOR 'täglich 📦'", terms(purpose: "täglich 📦")),
        ("LEASE THREAD '140245'", terms(thread: "140245")),
        ("LEASE THREAD 'a''b é'", terms(thread: "a'b é")),
        (
            "LEASE DIRECT WAIT '2s' HOLD '30s' FOR 'a' THREAD '7';",
            terms(direct: true, wait: .seconds(2), hold: .seconds(30), purpose: "a", thread: "7")
        ),
        (
            "lease\nthread'7'for'a'hold'1h'wait'1us'direct",
            terms(
                direct: true, wait: .microseconds(1), hold: .seconds(3600), purpose: "a",
                thread: "7")
        ),
    ]

    @Test("What is asked for", arguments: acquisitions)
    func acquires(text: String, terms: LeaseTerms) {
        #expect(read(text) == .command(.acquire(terms)))
        #expect(read(text + "\0") == .command(.acquire(terms)), "with its terminator")
        #expect(read(text + "\0, and more") == .command(.acquire(terms)), "up to a NUL")
    }

    @Test("The options come in any order")
    func orders() {
        let options = ["DIRECT", "WAIT '2s'", "HOLD '3s'", "FOR 'a'", "THREAD '7'"]
        let all = Self.terms(
            direct: true, wait: .seconds(2), hold: .seconds(3), purpose: "a", thread: "7")
        for order in permutations(of: options) {
            #expect(read("LEASE " + order.joined(separator: " ")) == .command(.acquire(all)))
        }
    }

    private func permutations(of words: [String]) -> [[String]] {
        guard !words.isEmpty else { return [[]] }
        return words.flatMap { word in
            permutations(of: words.filter { $0 != word }).map { [word] + $0 }
        }
    }

    @Test(
        "The return",
        arguments: [
            "LEASE RETURN", "lease return;", "Lease/* a */Return ; ;", "-- a\n LEASE\tRETURN -- b",
            "LEASE RETURN\0", "LEASE RETURN\0junk",
        ])
    func returns(text: String) {
        #expect(read(text) == .command(.giveBack))
    }

    @Test("A purpose is cut after 128 characters, not in the middle of one")
    func longPurposes() {
        func purpose(_ text: String) -> String? {
            guard case .command(.acquire(let terms)) = read("LEASE FOR '\(text)'") else {
                return nil
            }
            return terms.purpose
        }
        for character in ["x", "é", "漢", "📦"] {
            for count in [127, 128, 129, 400] {
                let whole = String(repeating: character, count: count)
                #expect(purpose(whole) == String(whole.prefix(128)))
            }
        }
        // A character is a code point, as in PostgreSQL: what follows one has a limit, too.
        let accented = "e" + String(repeating: "\u{301}", count: 300)
        #expect(purpose(accented)?.unicodeScalars.count == 128)
        #expect(purpose(String(repeating: "\r\n", count: 100))?.unicodeScalars.count == 128)
        #expect(purpose(String(repeating: "''", count: 200)) == String(repeating: "'", count: 128))
    }

    @Test("Bytes that are no UTF-8 are repaired")
    func brokenText() {
        let bytes = Array("LEASE FOR 'a".utf8) + [0xff, 0xc3] + Array("b'".utf8)
        let reading = bytes.withUnsafeBytes { LeaseCommand.read($0) }
        #expect(reading == .command(.acquire(Self.terms(purpose: "a\u{fffd}\u{fffd}b"))))
    }

    @Test("A thread has up to 64 bytes")
    func threads() {
        let longest = String(repeating: "7", count: 64)
        #expect(
            read("LEASE THREAD '\(longest)'") == .command(.acquire(Self.terms(thread: longest))))
        let wide = String(repeating: "é", count: 32)
        #expect(read("LEASE THREAD '\(wide)'") == .command(.acquire(Self.terms(thread: wide))))
    }

    // MARK: What is not for the broker

    @Test(
        "What is no lease command",
        arguments: [
            "", " ", "\0", "\0LEASE", ";", "; LEASE", "l", "leas", "LEASES", "LEASE_", "LEASE1",
            "LEASE$",
            "LEASEé", "lease_return", "\"lease\"", "'LEASE'", "(LEASE)", "SELECT 1", "SELECT lease",
            "LISTEN a", "LOCK t", "LOAD 'x'", "EXPLAIN LEASE", "BEGIN; LEASE", "E'LEASE'",
            "-- LEASE", "/* LEASE */", "/* LEASE", "/* /* */ LEASE", "-LEASE", "/LEASE",
            "- - LEASE",
            "ＬＥＡＳＥ", "le ase", "LE/**/ASE", "\u{feff}LEASE", "\u{a0}LEASE",
        ])
    func others(text: String) {
        #expect(read(text) == .other)
    }

    @Test("What may be one, by its first byte")
    func firstBytes() {
        for byte in 0...255 as ClosedRange<UInt8> {
            let mayBegin = [byte].withUnsafeBytes { LeaseCommand.mayBegin($0) }
            let text = [byte] + Array("lease".utf8.dropFirst(byte | 0x20 == 0x6c ? 1 : 0))
            let reading = text.withUnsafeBytes { LeaseCommand.read($0) }
            if reading != .other { #expect(mayBegin, "byte \(byte)") }
        }
        #expect(!withBytes(of: "") { LeaseCommand.mayBegin($0) })
        for text in ["SELECT", "select", "BEGIN", "(", "\"", "é"] {
            #expect(!withBytes(of: text) { LeaseCommand.mayBegin($0) })
        }
    }

    // MARK: What is refused

    struct Refusal: CustomStringConvertible, Sendable {
        var text: String
        var state: SQLState
        var message: String
        /// In characters, from 1.
        var position: Int?
        var description: String { text }

        init(_ text: String, _ message: String, at position: Int) {
            self.text = text
            self.message = message
            self.position = position
            state = .syntaxError
        }

        init(_ text: String, value message: String) {
            self.text = text
            self.message = message
            state = .invalidParameterValue
        }
    }

    static let refusals: [Refusal] = [
        // Words.
        Refusal("LEASE ME", "syntax error at or near \"ME\"", at: 7),
        Refusal("LEASE 1", "syntax error at or near \"1\"", at: 7),
        Refusal("LEASE é1_$x y", "syntax error at or near \"é1_$x\"", at: 7),
        Refusal("LEASE, DIRECT", "syntax error at or near \",\"", at: 6),
        Refusal("LEASE 'x'", "syntax error at or near \"'\"", at: 7),
        Refusal("LEASE (DIRECT)", "syntax error at or near \"(\"", at: 7),
        Refusal("LEASE DIRECTLY", "syntax error at or near \"DIRECTLY\"", at: 7),
        Refusal("LEASE RETURNS", "syntax error at or near \"RETURNS\"", at: 7),
        Refusal("LEASE WAITS '2s'", "syntax error at or near \"WAITS\"", at: 7),
        Refusal("LEASE; SELECT 1", "syntax error at or near \"SELECT\"", at: 8),
        Refusal("LEASE; LEASE RETURN", "syntax error at or near \"LEASE\"", at: 8),
        Refusal("LEASE RETURN DIRECT", "syntax error at or near \"DIRECT\"", at: 14),
        Refusal("LEASE DIRECT RETURN", "syntax error at or near \"RETURN\"", at: 14),
        Refusal("LEASE RETURN; BEGIN", "syntax error at or near \"BEGIN\"", at: 15),
        Refusal("LEASE WAIT '1s' '2s'", "syntax error at or near \"'\"", at: 17),
        Refusal("LEASE - DIRECT", "syntax error at or near \"-\"", at: 7),
        Refusal("LEASE DIRECT \u{1} ", "syntax error at or near \"\u{1}\"", at: 14),
        // Values.
        Refusal("LEASE WAIT", "syntax error at end of input", at: 11),
        Refusal("LEASE WAIT  ", "syntax error at end of input", at: 13),
        Refusal("LEASE WAIT 2", "syntax error at or near \"2\"", at: 12),
        Refusal("LEASE WAIT -1", "syntax error at or near \"-\"", at: 12),
        Refusal("LEASE WAIT = '2s'", "syntax error at or near \"=\"", at: 12),
        Refusal("LEASE WAIT E'2s'", "syntax error at or near \"E\"", at: 12),
        Refusal("LEASE WAIT $$2s$$", "syntax error at or near \"$$2s$$\"", at: 12),
        Refusal("LEASE WAIT \"2s\"", "syntax error at or near \"\"\"", at: 12),
        Refusal("LEASE FOR DIRECT", "syntax error at or near \"DIRECT\"", at: 11),
        Refusal("LEASE HOLD;", "syntax error at or near \";\"", at: 11),
        Refusal("LEASE THREAD $1", "syntax error at or near \"$1\"", at: 14),
        Refusal("LEASE FOR 'a", "unterminated quoted string", at: 11),
        Refusal("LEASE FOR 'a''", "unterminated quoted string", at: 11),
        Refusal("LEASE FOR 'é' THREAD 'a", "unterminated quoted string", at: 22),
        Refusal("LEASE FOR 'a\0'", "unterminated quoted string", at: 11),
        // Twice.
        Refusal("LEASE DIRECT DIRECT", "DIRECT is given twice", at: 14),
        Refusal("LEASE WAIT '1s' HOLD '1s' WAIT '1s'", "WAIT is given twice", at: 27),
        Refusal("LEASE HOLD '1s' hold '1s'", "HOLD is given twice", at: 17),
        Refusal("LEASE FOR '' FOR ''", "FOR is given twice", at: 14),
        Refusal("LEASE THREAD '1' THREAD '2'", "THREAD is given twice", at: 18),
        // Characters, not bytes, in front of it.
        Refusal("/* é漢📦 */ LEASE ME", "syntax error at or near \"ME\"", at: 17),
        Refusal("LEASE FOR 'é漢📦' ME", "syntax error at or near \"ME\"", at: 17),
        Refusal("LEASE FOR '📦' FOR 'x'", "FOR is given twice", at: 15),
        // Comments.
        Refusal("LEASE /* a", "unterminated comment", at: 7),
        Refusal("LEASE  /* é */ /* a /* b */", "unterminated comment", at: 16),
        Refusal("LEASE WAIT /*", "unterminated comment", at: 12),
        Refusal("LEASE RETURN --\n /* a", "unterminated comment", at: 18),
        Refusal("LEASE ; /* a *", "unterminated comment", at: 9),
        // What it cannot be.
        Refusal("LEASE WAIT ''", value: "invalid duration for WAIT: \"\""),
        Refusal("LEASE WAIT 'soon'", value: "invalid duration for WAIT: \"soon\""),
        Refusal("LEASE WAIT '-1'", value: "invalid duration for WAIT: \"-1\""),
        Refusal("LEASE WAIT '1 s s'", value: "invalid duration for WAIT: \"1 s s\""),
        Refusal("LEASE WAIT '1e3'", value: "invalid duration for WAIT: \"1e3\""),
        Refusal("LEASE HOLD '3 weeks'", value: "invalid duration for HOLD: \"3 weeks\""),
        Refusal("LEASE HOLD '9999999999'", value: "duration for HOLD is too long: \"9999999999\""),
        Refusal("LEASE HOLD '0'", value: "HOLD must be longer than 0"),
        Refusal("LEASE HOLD '0.0000000001s'", value: "HOLD must be longer than 0"),
        Refusal("LEASE THREAD ''", value: "THREAD must have 1 to 64 bytes"),
        Refusal(
            "LEASE THREAD '\(String(repeating: "7", count: 65))'",
            value: "THREAD must have 1 to 64 bytes"),
        Refusal(
            "LEASE THREAD '\(String(repeating: "é", count: 33))'",
            value: "THREAD must have 1 to 64 bytes"),
    ]

    @Test("Why it is refused, and where", arguments: refusals)
    func refused(_ refusal: Refusal) {
        guard case .refused(let error) = read(refusal.text) else {
            Issue.record("not refused")
            return
        }
        #expect(error.severity == .error, "the session goes on")
        #expect(error.sqlState == refusal.state)
        #expect(error.message == refusal.message)
        #expect(error.position == refusal.position)
        #expect(error.hint?.isEmpty == false, "it says what to do")
        if !refusal.text.contains("\0") {
            #expect(read(refusal.text + "\0") == .refused(error), "with its terminator")
        }
    }

    // MARK: Whatever comes

    @Test("A cut text is never read past its end")
    func cuts() {
        let text =
            " -- é\n/* /* */ */LEASE DIRECT WAIT '2s' HOLD '30s' FOR 'it''s é' THREAD '7' ; --"
        let bytes = Array(text.utf8)
        for length in 0...bytes.count {
            // A heap block of its own: reading behind it is found by the sanitizers.
            _ = Array(bytes.prefix(length)).withUnsafeBytes { LeaseCommand.read($0) }
        }
        guard case .command = read(text) else {
            Issue.record("the whole text is a command")
            return
        }
    }

    @Test("Random texts are answered, never trapped on")
    func garbage() {
        let pieces = [
            "LEASE", "RETURN", "DIRECT", "WAIT", "HOLD", "FOR", "THREAD", "'", "''", "'2s'", "'é'",
            " ",
            "\n", "--", "/*", "*/", ";", "\0", "é", "$", "\"", "x", "1",
        ].map { Array($0.utf8) }
        var random = SplitMix(seed: 20)
        var commands = 0
        for round in 0..<60_000 {
            var bytes: [UInt8] = round.isMultiple(of: 3) ? [] : Array("LEASE ".utf8)
            for _ in 0..<Int.random(in: 0...8, using: &random) {
                if Int.random(in: 0..<4, using: &random) == 0 {
                    bytes.append(UInt8.random(in: .min ... .max, using: &random))
                } else {
                    bytes += pieces.randomElement(using: &random)!
                }
            }
            switch bytes.withUnsafeBytes({ LeaseCommand.read($0) }) {
            case .other: break
            case .command: commands += 1
            case .refused(let error):
                guard let position = error.position else { continue }
                let text = String(decoding: bytes, as: UTF8.self)
                if position < 1 || position > text.unicodeScalars.count + 1 {
                    Issue.record("position \(position) in \(bytes)")
                    return
                }
            }
        }
        #expect(commands > 100, "the texts are too wild to be commands")
    }
}

/// SplitMix64, so that every run reads the same texts.
private struct SplitMix: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

// SPDX-License-Identifier: Apache-2.0

import PostgresWire
import Testing

@testable import LeaseCore

/// What a server is asked at the end of a lease, and its answer.
@Suite struct StateQuestionTests {
    private func names(_ names: [String], isComplete: Bool = true) -> SettingNames {
        var found = SettingNames()
        for name in names { found.add(name) }
        if !isComplete { found.leaveOpen() }
        return found
    }

    @Test func whereATextNamesAllThatItSetsOnlyThatIsAskedFor() {
        let question = StateQuestion(
            about: .settings, names: names(["work_mem", "app.x"]), classNames: ["app.y"],
            isPinned: false)
        #expect(question.names == ["work_mem", "app.x"])
        #expect(!question.text.contains("pg_settings"))
        #expect(!question.text.contains("pg_locks"))
        #expect(question.text.contains("'app.x'") && !question.text.contains("'app.y'"))
    }

    @Test func whatIsNotKnownIsAskedForAsAWhole() {
        for taint in [SessionTaint.other, .functions, .libraries] {
            let question = StateQuestion(
                about: taint, names: names(["app.x"]), classNames: ["app.y"], isPinned: false)
            #expect(question.names == nil)
            #expect(question.text.contains("pg_settings"))
            #expect(question.text.contains("'app.x'") && question.text.contains("'app.y'"))
        }
        let open = StateQuestion(
            about: .settings, names: names(["work_mem"], isComplete: false), classNames: [],
            isPinned: false)
        #expect(open.names == nil)
    }

    @Test func aPinnedLeaseIsAskedForAllThatPins() {
        let question = StateQuestion(about: .removal, names: nil, classNames: [], isPinned: true)
        for part in ["pg_depend", "pg_cursors", "pg_locks", "pg_listening_channels"] {
            #expect(question.text.contains(part))
        }
        #expect(!question.text.contains("pg_settings"))
    }

    /// Its names are qualified: the client's search path is in force, and its objects are not trusted.
    @Test func nothingIsLookedUpByThePath() {
        let question = StateQuestion(
            about: [.other, .functions], names: nil, classNames: ["a.b"],
            functions: [Array("f".utf8)], isPinned: true)
        for name in [
            "pg_locks", "pg_depend", "pg_cursors", "pg_proc", "current_setting(",
        ] {
            for part in question.text.split(separator: name).dropLast() {
                #expect(part.hasSuffix("pg_catalog."), "\(name) behind \(part.suffix(20))")
            }
        }
        var rest = question.text[...]
        while let start = rest.ranges(of: "OPERATOR(pg_catalog.").first {
            let end = rest[start.upperBound...].firstIndex(of: ")") ?? rest.endIndex
            rest.removeSubrange(start.lowerBound..<end)
        }
        for sign in ["=", "<", "~"] { #expect(!rest.contains(sign)) }
    }

    private func row(_ columns: [String?]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.appendDataRow(texts: columns)
        return bytes
    }

    private func digits(_ text: String) -> String {
        text.utf8.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    @Test func theAnswerIsRead() throws {
        let rows =
            row(["role", "", digits("none"), ""]) + row(["user", "", digits("ann"), ""])
            + row(["set", "TimeZone", digits("Asia/Tokyo"), ""])
            + row(["set", "app.gone", nil, ""]) + row(["set", "app.x", digits("é'\\"), ""])
            + row(["temporary", "", "", ""]) + row(["lock", "", "", ""])
            + row(["channel", "", digits("c"), ""])
            + row(["statement", digits("p"), digits("prepare p as select 1"), "23 25"])
            + row(["function", digits("f"), "opaque", "g h"])
        let answer = try #require(StateAnswer(rows: rows))
        #expect(answer.role == nil)
        #expect(answer.sessionUser == "ann")
        #expect(
            answer.settings == [
                ProfileEntry(name: "timezone", value: "Asia/Tokyo"),
                ProfileEntry(name: "app.x", value: "é'\\"),
            ])
        #expect(answer.unset == ["app.gone"])
        #expect(answer.pins == [.temporaryObjects, .advisoryLocks])
        #expect(answer.channels == [Array("c".utf8)])
        #expect(
            answer.statements == [
                StateAnswer.Statement(
                    name: Array("p".utf8), text: Array("prepare p as select 1".utf8),
                    parameterTypes: [23, 25])
            ])
        #expect(answer.functions.count == 1 && answer.functions[0].isOpaque)
    }

    @Test func whatItsRoleCouldNotSetAgainPins() throws {
        let locked = row(["set", "log_statement", digits("all"), "locked"])
        #expect(try #require(StateAnswer(rows: locked)).pins == .settings)
        // Not in UTF-8.
        let odd = row(["set", "app.x", "e9", ""])
        #expect(try #require(StateAnswer(rows: odd)).pins == .settings)
    }

    @Test func cutOrStrangeRowsAreNone() {
        let whole = row(["set", "app.x", digits("1"), ""])
        for length in 1..<whole.count {
            #expect(StateAnswer(rows: Array(whole.prefix(length))) == nil)
        }
        #expect(StateAnswer(rows: row(["what", "", "", ""])) == nil)
        #expect(StateAnswer(rows: row(["role", "", "abc", ""])) == nil)
        #expect(StateAnswer(rows: []) != nil)
    }
}

/// What is known of the functions that texts call.
@Suite struct FunctionMemoTests {
    private func clears(_ memo: FunctionMemo, _ text: String) -> Bool {
        memo.doubts(in: text).isEmpty
    }

    @Test func aNameIsAskedAboutOnce() {
        let memo = FunctionMemo()
        #expect(
            clears(memo, "select 1")
                && clears(memo, "insert into t values (1) on conflict (a)") == false)
        #expect(clears(memo, "select count(*) from x where a in (1) and exists (select 2)"))
        #expect(!clears(memo, "select f(1)"))
        memo.learn("f", isOpaque: false)
        #expect(clears(memo, "select F (1)") && clears(memo, "select s.\"f\"(1)"))
        #expect(!clears(memo, "select \"F\"(1)"))
    }

    @Test func oneIsAsHarmlessAsWhatItCalls() {
        let memo = FunctionMemo()
        memo.learn("outer", isOpaque: false, calls: ["inner", "outer"])
        #expect(!clears(memo, "select outer()"))
        #expect(memo.unknown(["outer"]) == ["inner"])
        memo.learn("inner", isOpaque: false)
        #expect(clears(memo, "select outer()"))
        memo.learn("other", isOpaque: false, calls: ["bad", "inner"])
        memo.learn("bad", isOpaque: true)
        #expect(!clears(memo, "select other()"))
        #expect(memo.unknown(["other"]) == [])
    }

    @Test func whatCallsItselfInTurnIsNotHarmlessByThat() {
        let memo = FunctionMemo()
        memo.learn("a", isOpaque: false, calls: ["b"])
        memo.learn("b", isOpaque: false, calls: ["a"])
        #expect(!clears(memo, "select a()"))
    }
}

extension FunctionMemo {
    fileprivate func doubts(in text: String) -> [[UInt8]] {
        Array(text.utf8).withUnsafeBytes { doubts(in: $0) }
    }

    fileprivate func learn(_ name: String, isOpaque: Bool, calls: [String] = []) {
        learn(
            Array(name.utf8), isOpaque: isOpaque, calls: calls.map { Array($0.utf8) }, now: .zero)
        settle()
    }

    fileprivate func unknown(_ names: [String]) -> [String] {
        unknown(among: names.map { Array($0.utf8) }).map { String(decoding: $0, as: UTF8.self) }
    }
}

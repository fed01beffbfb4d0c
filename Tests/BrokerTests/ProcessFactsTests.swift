// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import Broker

@Suite struct ProcessFactsTests {
    private func shown(_ words: String...) -> String? {
        ProcessArguments.shown(words.map { $0 + "\0" }.joined())
    }

    @Test func theProgramsNameIsNotAmongTheArguments() {
        #expect(shown("/usr/bin/python3", "-m", "worker", "7") == "-m worker 7")
        #expect(shown("/usr/bin/python3") == nil)
        #expect(ProcessArguments.shown("") == nil)
        #expect(shown("x", "", "y") == " y")
    }

    @Test(arguments: [
        (["--password=hunter2", "x"], "--password=*** x"),
        (["--password", "hunter2", "x"], "--password *** x"),
        (["PGPASSWORD=hunter2"], "PGPASSWORD=***"),
        (["--api-token", "hunter2"], "--api-token ***"),
        (["--secret-key=hunter2"], "--secret-key=***"),
        (["postgresql://app:hunter2@db/app"], "postgresql://app:***@db/app"),
        (["--dsn=postgresql://app:hunter2@db/app"], "--dsn=postgresql://app:***@db/app"),
        (["host=db user=app password=hunter2 port=1"], "host=db user=app password=*** port=1"),
        (["-c", "SELECT 'hunter2'"], "-c ***"),
        (["-XAtc", "SELECT 'hunter2'"], "-XAtc ***"),
        (["-e", "hunter2"], "-e ***"),
        (["--command=SELECT 'hunter2'"], "--command=***"),
        (["--command", "SELECT 'hunter2'"], "--command ***"),
    ])
    func secretsAreHidden(_ words: [String], _ expected: String) {
        let line = (["/usr/bin/tool"] + words).map { $0 + "\0" }.joined()
        #expect(ProcessArguments.shown(line) == expected)
    }

    @Test func aTitleInOnePieceIsReadByWords() {
        #expect(ProcessArguments.shown("worker: app password=hunter2\0") == "app password=***")
    }

    @Test func aLongLineIsCutBetweenCharacters() throws {
        let long = try #require(shown("tool", String(repeating: "ä", count: 150)))
        #expect(long.hasPrefix("ää") && long.hasSuffix("ä…"))
        #expect(long.utf8.count <= ProcessArguments.limit + 3)
    }

    @Test func linesStayOneLine() {
        #expect(shown("tool", "a\nb\tc") == "a b c")
    }

    @Test func thisProcessIsFound() throws {
        let facts = try #require(ProcessFacts.read(getpid()))
        let program = try #require(facts.program)
        #expect(CommandLine.arguments[0].contains(program))
        #expect(program.utf8.count >= 15 || program == facts.name)
        #expect(ProcessFacts.read(0x3FFF_FFFF) == nil)
        #expect(ProcessFacts.name(of: 0x3FFF_FFFF) == nil)
    }
}

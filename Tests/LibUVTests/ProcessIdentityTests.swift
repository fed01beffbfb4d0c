// SPDX-License-Identifier: Apache-2.0

import Glibc
import Testing

@testable import LibUV

@Suite("Who a process is")
struct ProcessIdentityTests {
    private static func startTime(_ text: String) -> UInt64? {
        Array(text.utf8).withUnsafeBytes { ProcessIdentity.startTime(inStat: $0) }
    }

    private static let rest =
        "S 1 2 3 0 -1 4194560 5 6 7 8 9 10 11 12 20 0 1 0 4711 123456 789 18446744073709551615"

    @Test("The start is field 22, whatever the program is called")
    func fields() {
        for name in ["(cat)", "(a b)", "(x) R 1 2 (y))", "()", "(\n)"] {
            #expect(Self.startTime("17 \(name) \(Self.rest)\n") == 4711)
        }
        for text in [
            "", "17 cat S", "17 (cat)", "17 (cat) S 1 2 3", "17 (cat) " + Self.rest.prefix(40),
        ] {
            #expect(Self.startTime(String(text)) == nil)
        }
    }

    @Test("The same number at another time, or of another user, is another process")
    func equality() {
        let one = ProcessIdentity(processID: 17, userID: 1, mark: 4711)
        #expect(one == ProcessIdentity(processID: 17, userID: 1, mark: 4711))
        #expect(one != ProcessIdentity(processID: 17, userID: 1, mark: 4712))
        #expect(one != ProcessIdentity(processID: 17, userID: 2, mark: 4711))
        #expect(one.isCertain && !ProcessIdentity(processID: 17, userID: 1, mark: 0).isCertain)
    }

    @Test("A process keeps its mark, and no other has it")
    func marks() throws {
        let own = try #require(ProcessIdentity.mark(of: getpid()))
        #expect(ProcessIdentity.mark(of: getpid()) == own)
        #expect(ProcessIdentity.mark(of: getppid()) != own)
        #expect(ProcessIdentity.mark(of: 0x3FFF_FFFF) == nil)
        #expect(ProcessIdentity(processID: getpid(), userID: getuid(), mark: own).isStillThere)
        #expect(!ProcessIdentity(processID: getpid(), userID: getuid(), mark: own + 1).isStillThere)
        #expect(!ProcessIdentity(processID: getpid(), userID: getuid(), mark: 0).isStillThere)
    }

    @Test("The time of the start, for kernels before 6.9")
    func startTimes() throws {
        let own = try #require(ProcessIdentity.startTime(of: getpid()))
        #expect(ProcessIdentity.startTime(of: getpid()) == own)
        #expect(try #require(ProcessIdentity.startTime(of: getppid())) <= own)
        #expect(ProcessIdentity.startTime(of: 0x3FFF_FFFF) == nil)
    }
}

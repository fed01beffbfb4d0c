// SPDX-License-Identifier: Apache-2.0

import Glibc
import PostgresFixture
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(2))) struct ChildProcessTests {
    private func shell(
        _ script: String, environment: [String: String]? = nil,
        output: ChildProcess.Output = .kept
    ) throws -> ChildProcess {
        try ChildProcess("/bin/sh", ["-c", script], environment: environment, output: output)
    }

    @Test(arguments: [0, 1, 7, 255] as [Int32])
    func itsExitStatusIsKept(_ status: Int32) throws {
        let child = try shell("exit \(status)")
        #expect(child.waitUntilExit() == .exited(status))
        #expect(!child.isRunning)
        #expect(child.waitUntilExit() == .exited(status))
        // It is reaped: this process has no such child any more.
        #expect(waitpid(child.processID, nil, WNOHANG) == -1)
    }

    @Test func aSignalIsToldFromAnExitStatus() throws {
        let child = try ChildProcess("/bin/cat", input: .written)
        #expect(child.isRunning)
        child.signal(SIGTERM)
        #expect(child.waitUntilExit() == .signalled(SIGTERM))
        // Nobody has this id now, or somebody else: a further signal goes nowhere.
        child.kill()
        #expect(child.waitUntilExit() == .signalled(SIGTERM))
    }

    @Test func theEndIsSeenWithoutWaitingForIt() throws {
        let child = try shell("exit 3")
        try Fixture.eventually("the end") { !child.isRunning }
        #expect(child.waitUntilExit() == .exited(3))
    }

    @Test func aProgramThatIsMissingIsAnError() {
        let error = #expect(throws: FixtureFailure.self) {
            try ChildProcess("/nonexistent/program")
        }
        #expect(error?.description.contains("/nonexistent/program") == true)
    }

    @Test func aChildThatIsForgottenIsKilled() throws {
        var child: ChildProcess? = try ChildProcess("/bin/cat", input: .written)
        let processID = try #require(child?.processID)
        #expect(Glibc.kill(processID, 0) == 0)
        child = nil
        #expect(Glibc.kill(processID, 0) == -1)
    }

    @Test func outputLargerThanAPipeIsWhole() throws {
        let child = try shell("head -c 3000000 /dev/zero | tr '\\0' x; echo end >&2")
        #expect(child.waitUntilExit() == .exited(0))
        let output = child.output
        #expect(output.utf8.count == 3_000_004)
        #expect(output.hasPrefix("xxx") && output.hasSuffix("xend\n"))
    }

    @Test func aFileIsAppendedTo() throws {
        let folder = try Fixture.folder()
        defer { _ = try? Fixture.shell("rm -rf \(folder)") }
        for number in 1...2 {
            let child = try shell(
                "echo \(number); echo error >&2", output: .file("\(folder)/log"))
            #expect(child.waitUntilExit() == .exited(0))
        }
        #expect(try Fixture.shell("cat \(folder)/log") == "1\nerror\n2\nerror\n")
    }

    @Test func itReadsWhatIsWritten() throws {
        let child = try ChildProcess("/usr/bin/head", ["-n", "2"], input: .written, output: .kept)
        try child.write("one\n")
        try child.write("two\n")
        #expect(child.waitUntilExit() == .exited(0))
        #expect(child.output == "one\ntwo\n")
        // Another child that is just being started may have the socket until it runs its program.
        try Fixture.eventually("nobody reads any more") {
            do { try child.write("three\n") } catch is FixtureFailure { return true }
            return false
        }
    }

    @Test func theEnvironmentIsItsOwnOrThatOfThisProcess() throws {
        let own = try shell("echo \"$WORD, $HOME\"", environment: ["WORD": "given"])
        own.waitUntilExit()
        #expect(own.output == "given, \n")
        let same = try shell("echo $PATH")
        same.waitUntilExit()
        #expect(same.output == String(cString: getenv("PATH")) + "\n")
    }

    @Test func nothingElseIsInherited() throws {
        // Not closed on exec, as a descriptor is that another thread is just making.
        let open = (0..<20).map { _ in dup(STDERR_FILENO) }
        defer { for number in open { close(number) } }
        #expect(open.allSatisfy { $0 > 2 })
        #expect(try Fixture.shell("ls /proc/$$/fd") == "0\n1\n2\n")
    }

    @Test func signalsAreAtTheirDefaults() throws {
        var blocked = sigset_t()
        sigemptyset(&blocked)
        sigaddset(&blocked, SIGTERM)
        var before = sigset_t()
        pthread_sigmask(SIG_BLOCK, &blocked, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        let ignored = signal(SIGUSR2, SIG_IGN)
        defer { signal(SIGUSR2, ignored) }
        let status = try Fixture.shell("grep -E 'Sig(Blk|Ign)' /proc/self/status")
        // 32 and 33 are glibc's own.
        let masks = status.split(separator: "\n").map {
            UInt64($0.suffix(16), radix: 16).map { $0 & 0x7FFF_FFFF }
        }
        #expect(masks == [0, 0])
    }

    /// Children that stay are started while those that end are waited for, by many threads at once.
    /// Whoever learned of an end by a descriptor that the ones that stay inherit would wait for ever.
    @Test func manyAreStartedAtOnceAndEachEndIsSeen() throws {
        let staying = Mutex<[ChildProcess]>([])
        let ends = Mutex<[ChildProcess.End]>([])
        let threads = ThreadGroup(16) {
            for _ in 0..<20 {
                let child = try ChildProcess("/bin/cat", input: .written)
                staying.withLock { $0.append(child) }
                let end = try ChildProcess("/bin/sh", ["-c", "exit 5"]).waitUntilExit()
                ends.withLock { $0.append(end) }
            }
        }
        try threads.join()
        #expect(ends.withLock { $0 } == Array(repeating: .exited(5), count: 320))
        let children = staying.withLock { $0 }
        #expect(children.count == 320)
        #expect(children.allSatisfy { $0.isRunning })
        for child in children {
            child.kill()
            #expect(child.waitUntilExit() == .signalled(SIGKILL))
        }
    }

    @Test func manyMayWaitForOne() throws {
        let child = try ChildProcess("/usr/bin/head", ["-n", "1"], input: .written)
        let ends = Mutex<[ChildProcess.End]>([])
        let waiters = ThreadGroup(16) {
            let end = child.waitUntilExit()
            ends.withLock { $0.append(end) }
        }
        try child.write("end\n")
        try waiters.join()
        #expect(ends.withLock { $0 } == Array(repeating: .exited(0), count: 16))
    }
}

/// Threads that run the same at the same time. Joined once; if one threw, that throws.
private final class ThreadGroup: Sendable {
    private let body: @Sendable () throws -> Void
    private let failure = Mutex<(any Error)?>(nil)
    private let threads = Mutex<[pthread_t]>([])

    init(_ count: Int, _ body: @escaping @Sendable () throws -> Void) {
        self.body = body
        for _ in 0..<count {
            var thread = pthread_t()
            let status = pthread_create(
                &thread, nil,
                { Unmanaged<ThreadGroup>.fromOpaque($0!).takeRetainedValue().run() },
                Unmanaged.passRetained(self).toOpaque())
            precondition(status == 0, "no thread can be started")
            threads.withLock { $0.append(thread) }
        }
    }

    private func run() -> UnsafeMutableRawPointer? {
        do { try body() } catch { failure.withLock { $0 = error } }
        return nil
    }

    func join() throws {
        for thread in threads.withLock({ $0 }) { precondition(pthread_join(thread, nil) == 0) }
        if let failure = failure.withLock({ $0 }) { throw failure }
    }
}

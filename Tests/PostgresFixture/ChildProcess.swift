// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// One process that a test has started, and its end.
///
/// It inherits standard input, output and error, nothing else, so it never holds open what another
/// thread is just making for a process of its own. Foundation's `Process` does: it learns of an end
/// by a socket that every process started meanwhile inherits, and waits for those as well.
///
/// Owns the right to wait for the process: its end is taken once, and its id is its own until then.
/// One that still runs when nobody refers to it any more is killed.
package final class ChildProcess: Sendable {
    /// How a process ended.
    package enum End: Equatable, Sendable {
        case exited(Int32)
        case signalled(Int32)
    }

    /// What the process reads.
    package enum Input: Sendable {
        case nothing
        /// What ``write(_:)`` sends, as long as this object lives.
        case written
    }

    /// Where standard output and error go.
    package enum Output: Equatable, Sendable {
        case nowhere
        /// To the end of a file, which is made if there is none.
        case file(String)
        /// To memory, so that no reader is waited for; ``output`` has it.
        case kept
    }

    package let processID: Int32
    private let end = Mutex<End?>(nil)
    /// The other end of standard input.
    private let input: Descriptor?
    private let kept: Descriptor?

    /// Without an `environment` it gets the one of this process.
    package init(
        _ program: String, _ arguments: [String] = [], environment: [String: String]? = nil,
        input: Input = .nothing, output: Output = .nowhere
    ) throws {
        let ends = input == .written ? try Descriptor.pair() : nil
        self.input = ends?.near
        kept = output == .kept ? try Descriptor.memory() : nil
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let ends {
            posix_spawn_file_actions_adddup2(&actions, ends.far.number, STDIN_FILENO)
        } else {
            posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        }
        switch output {
        case .nowhere:
            posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0)
        case .file(let path):
            posix_spawn_file_actions_addopen(
                &actions, STDOUT_FILENO, path, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        case .kept:
            posix_spawn_file_actions_adddup2(&actions, kept!.number, STDOUT_FILENO)
        }
        posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO)
        _ = addCloseFrom(&actions, STDERR_FILENO + 1)
        processID = try withExtendedLifetime(ends) {
            try Self.spawn([program] + arguments, environment, &actions)
        }
    }

    /// With all signals at their defaults, whatever this process blocks or ignores.
    private static func spawn(
        _ words: [String], _ environment: [String: String]?,
        _ actions: inout posix_spawn_file_actions_t
    ) throws -> pid_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(
            &attributes, Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))

        let arguments = words.map { strdup($0) }
        let settings = environment?.map { strdup("\($0.key)=\($0.value)") }
        defer { for text in arguments + (settings ?? []) { free(text) } }
        var processID = pid_t()
        let status =
            if let settings {
                posix_spawn(
                    &processID, words[0], &actions, &attributes, arguments + [nil], settings + [nil]
                )
            } else {
                posix_spawn(&processID, words[0], &actions, &attributes, arguments + [nil], environ)
            }
        guard status == 0 else {
            throw FixtureFailure("\(words[0]) does not start: \(String(cString: strerror(status)))")
        }
        return processID
    }

    deinit { kill() }

    package var isRunning: Bool { end.withLock { reap(&$0, WNOHANG) } == nil }

    /// Blocks until the process has ended.
    @discardableResult
    package func waitUntilExit() -> End {
        if let end = end.withLock({ $0 }) { return end }
        // Outside of the lock, as others may look or send a signal meanwhile. The process stays a
        // zombie. If somebody else takes its end first, there is no such child any more.
        var information = siginfo_t()
        while waitid(P_PID, id_t(processID), &information, WEXITED | WNOWAIT) != 0 {
            if errno != EINTR { break }
        }
        return end.withLock { reap(&$0, 0)! }
    }

    /// The end, if it is known; what is returned is nil only with WNOHANG, while the process runs.
    private func reap(_ end: inout End?, _ flags: Int32) -> End? {
        if let end { return end }
        var status: Int32 = 0
        var result = waitpid(processID, &status, flags)
        while result < 0, errno == EINTR { result = waitpid(processID, &status, flags) }
        if result == 0 { return nil }
        precondition(result == processID, "somebody else waited for process \(processID)")
        let signal = status & 0x7F
        end = signal == 0 ? .exited(status >> 8 & 0xFF) : .signalled(signal)
        return end
    }

    /// Sends a signal, unless the process has ended.
    package func signal(_ number: Int32) {
        end.withLock { if $0 == nil { _ = Glibc.kill(processID, number) } }
    }

    /// SIGKILL, and waits until the process is gone.
    package func kill() {
        signal(SIGKILL)
        waitUntilExit()
    }

    /// However this process ends, the child is killed then, a second later at most, and the script
    /// runs.
    package func killAtTheEnd(_ script: String = "") throws {
        try Fixture.shell(
            """
            setsid sh -c 'while kill -0 \(getpid()) && kill -0 \(processID); do
                sleep 1; done
                kill -0 \(getpid()) || { kill -9 \(processID); \(script)
                }' </dev/null >/dev/null 2>&1 &
            """)
    }

    /// Sends this to the process's standard input.
    package func write(_ text: String) throws {
        guard let input else { preconditionFailure("its input is not written") }
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                send(input.number, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                throw FixtureFailure("process \(processID) does not read: errno \(errno)")
            }
            rest = rest.dropFirst(count)
        }
    }

    /// What the process and those it started have written until now.
    package var output: String {
        guard let kept else { preconditionFailure("its output is not kept") }
        var bytes: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65536)
        while true {
            let count = pread(kept.number, &buffer, buffer.count, off_t(bytes.count))
            precondition(count >= 0, "memory cannot be read: errno \(errno)")
            if count == 0 { return String(decoding: bytes, as: UTF8.self) }
            bytes += buffer[..<count]
        }
    }
}

/// A file descriptor that is closed on exec and when nobody refers to it any more.
private final class Descriptor: Sendable {
    let number: Int32

    private init(_ number: Int32) { self.number = number }

    deinit { close(number) }

    /// A file that has no name and is gone with its last descriptor.
    static func memory() throws -> Descriptor {
        let closedOnExec: UInt32 = 1  // MFD_CLOEXEC
        let number = createMemoryFile("output", closedOnExec)
        guard number >= 0 else { throw FixtureFailure("no memory for an output: errno \(errno)") }
        return Descriptor(number)
    }

    /// Two sockets that are connected.
    static func pair() throws -> (near: Descriptor, far: Descriptor) {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else {
            throw FixtureFailure("no sockets for an input: errno \(errno)")
        }
        return (Descriptor(ends[0]), Descriptor(ends[1]))
    }
}

// glibc 2.34 and 2.27; the headers show them with _GNU_SOURCE only.
@_silgen_name("posix_spawn_file_actions_addclosefrom_np")
private func addCloseFrom(
    _ actions: UnsafeMutablePointer<posix_spawn_file_actions_t>, _ first: Int32
) -> Int32

@_silgen_name("memfd_create")
private func createMemoryFile(_ name: UnsafePointer<CChar>, _ flags: UInt32) -> Int32

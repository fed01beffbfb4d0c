// SPDX-License-Identifier: Apache-2.0

import Glibc
import LibUV

/// A command of the operator's that prints something, within a limit of time. Blocks: for worker threads.
enum ShellCommand {
    enum End: Equatable, Sendable {
        case exited(Int32)
        case signalled(Int32)
        case tooLong
        case tooMuch
        case notStarted(String)
    }

    struct Outcome: Sendable {
        var end: End
        var output: [UInt8] = []
        /// The beginning of what it said on standard error.
        var complaint: [UInt8] = []
    }

    static let mostOutput = 65_536
    private static let mostComplaint = 512

    /// Runs it by /bin/sh, in a process group of its own, which does not outlive the call.
    static func run(_ text: String, environment: [String], limit: Duration) -> Outcome {
        let deadline = ContinuousClock.now + limit
        do throws(UVError) {
            let output = try Descriptor.makePipe()
            let complaint: (readEnd: Int32, writeEnd: Int32)
            do throws(UVError) {
                complaint = try Descriptor.makePipe()
            } catch {
                close(output.readEnd)
                close(output.writeEnd)
                throw error
            }
            var child = pid_t()
            let status = spawn(
                text, environment, output: output.writeEnd, complaint: complaint.writeEnd, &child)
            close(output.writeEnd)
            close(complaint.writeEnd)
            defer {
                close(output.readEnd)
                close(complaint.readEnd)
            }
            guard status == 0 else {
                return Outcome(end: .notStarted(String(cString: strerror(status))))
            }
            return read(output.readEnd, complaint.readEnd, of: child, until: deadline)
        } catch {
            return Outcome(end: .notStarted(error.description))
        }
    }

    private static func read(
        _ output: Int32, _ complaint: Int32, of child: pid_t,
        until deadline: ContinuousClock.Instant
    ) -> Outcome {
        var outcome = Outcome(end: .tooLong)
        var isOpen = [true, true]
        var chunk = [UInt8](repeating: 0, count: 4096)
        while isOpen[0] || isOpen[1], ContinuousClock.now < deadline {
            var entries = [
                pollfd(fd: isOpen[0] ? output : -1, events: Int16(POLLIN), revents: 0),
                pollfd(fd: isOpen[1] ? complaint : -1, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&entries, 2, wait(until: deadline)) > 0 else { continue }
            for index in 0..<2 where entries[index].revents != 0 {
                let count = Glibc.read(entries[index].fd, &chunk, chunk.count)
                if count == 0 || (count < 0 && errno != EINTR) { isOpen[index] = false }
                guard count > 0 else { continue }
                if index == 0 {
                    outcome.output += chunk[..<count]
                } else {
                    outcome.complaint +=
                        chunk[..<min(count, mostComplaint - outcome.complaint.count)]
                }
            }
            if outcome.output.count > mostOutput {
                outcome.end = .tooMuch
                break
            }
        }
        if outcome.end == .tooMuch || !hasEnded(child, by: deadline) {
            kill(-child, SIGKILL)
            var status: Int32 = 0
            while waitpid(child, &status, 0) < 0, errno == EINTR {}
            return outcome
        }
        // What it has left behind goes with it.
        kill(-child, SIGKILL)
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0 {
            if errno != EINTR { return outcome }
        }
        let signal = status & 0x7F
        outcome.end = signal == 0 ? .exited(status >> 8 & 0xFF) : .signalled(signal)
        return outcome
    }

    /// It stays a zombie: its number is its own, and its group's, until it is waited for.
    private static func hasEnded(_ child: pid_t, by deadline: ContinuousClock.Instant) -> Bool {
        while true {
            var information = siginfo_t()
            let status = waitid(P_PID, id_t(child), &information, WEXITED | WNOWAIT | WNOHANG)
            if status != 0, errno != EINTR { return true }
            if status == 0, information.si_signo != 0 { return true }
            guard ContinuousClock.now < deadline else { return false }
            poll(nil, 0, min(5, wait(until: deadline)))
        }
    }

    private static func wait(until deadline: ContinuousClock.Instant) -> Int32 {
        let left = (deadline - .now).components
        return Int32(
            clamping: max(0, left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000 + 1))
    }

    private static func spawn(
        _ text: String, _ environment: [String], output: Int32, complaint: Int32,
        _ child: inout pid_t
    ) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, complaint, STDERR_FILENO)
        // A connection that is being opened just now is not yet closed on exec.
        _ = closeOthers(&actions, STDERR_FILENO + 1)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        for signal in [SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD, SIGUSR1, SIGUSR2] {
            sigaddset(&signals, signal)
        }
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP))

        let arguments: [String] = ["sh", "-c", text]
        let words = arguments.map { strdup($0) }
        let settings = environment.map { strdup($0) }
        defer { for text in words + settings { free(text) } }
        return posix_spawn(
            &child, "/bin/sh", &actions, &attributes, words + [nil], settings + [nil])
    }
}

// glibc 2.34; its header shows it with _GNU_SOURCE only.
@_silgen_name("posix_spawn_file_actions_addclosefrom_np")
private func closeOthers(
    _ actions: UnsafeMutablePointer<posix_spawn_file_actions_t>, _ first: Int32
) -> Int32

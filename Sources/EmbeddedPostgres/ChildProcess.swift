// SPDX-License-Identifier: Apache-2.0

import Glibc

/// One process started by `posix_spawn`, and its end.
///
/// Owns the right to wait for it: its end is taken once, by `poll`. It starts in a process group of
/// its own (a Ctrl-C in the terminal is the broker's to answer) and with default signal handling, and
/// inherits no descriptor but standard input, output and error.
final class ChildProcess {
    /// How a process ended.
    enum ExitStatus: Equatable, CustomStringConvertible {
        case exited(Int32)
        case signalled(Int32)

        var description: String {
            switch self {
            case .exited(let code): "exit status \(code)"
            case .signalled(let signal): "signal \(signal)"
            }
        }
    }

    let processID: pid_t
    private var ended: ExitStatus?

    /// Standard input is empty; `output` becomes standard output and standard error.
    init(
        program: String, arguments: [String], environment: [String: String], output: Int32,
        folder: String = "/"
    ) throws(EmbeddedPostgresError) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO)
        // What the broker's own parent left open, or a thread is just opening, is not PostgreSQL's.
        _ = addCloseFrom(&actions, STDERR_FILENO + 1)

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

        let words = ([program] + arguments).map { strdup($0) }
        let settings = environment.map { strdup("\($0.key)=\($0.value)") }
        defer { for text in words + settings { free(text) } }
        var processID = pid_t()
        let status = posix_spawn(
            &processID, program, &actions, &attributes, words + [nil], settings + [nil])
        guard status == 0 else {
            throw .spawnFailed(program: program, reason: String(cString: strerror(status)))
        }
        self.processID = processID
    }

    /// How it ended; nil while it runs.
    func poll() -> ExitStatus? {
        if ended == nil { ended = reap(flags: WNOHANG) }
        return ended
    }

    /// Waits for its end.
    func wait() -> ExitStatus {
        if let ended { return ended }
        let status = reap(flags: 0) ?? .exited(-1)
        ended = status
        return status
    }

    /// Waits for its end, not longer than `limit`.
    func wait(atMost limit: Duration) -> ExitStatus? {
        let deadline = ContinuousClock.now + limit
        while true {
            if let status = poll() { return status }
            if ContinuousClock.now >= deadline { return nil }
            Pause.short()
        }
    }

    /// Only while it is not waited for: its id is its own until then.
    func send(signal: Int32) {
        if ended == nil { kill(processID, signal) }
    }

    private func reap(flags: Int32) -> ExitStatus? {
        var status: Int32 = 0
        while true {
            let result = waitpid(processID, &status, flags)
            if result == processID { break }
            if result == 0 { return nil }
            // Someone else waited for it: its status is lost, its end is certain.
            if errno != EINTR { return .exited(-1) }
        }
        let signal = status & 0x7F
        return signal == 0 ? .exited(status >> 8 & 0xFF) : .signalled(signal)
    }
}

// glibc 2.34; its header shows it with _GNU_SOURCE only.
@_silgen_name("posix_spawn_file_actions_addclosefrom_np")
private func addCloseFrom(
    _ actions: UnsafeMutablePointer<posix_spawn_file_actions_t>, _ first: Int32
) -> Int32

/// The step between two looks at something that sends no event, before the event loop runs.
enum Pause {
    static func short() {
        var time = timespec(tv_sec: 0, tv_nsec: 10_000_000)
        nanosleep(&time, nil)
    }
}

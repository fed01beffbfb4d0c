// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The process of a pipeline, started by posix_spawn(3) in a process group of its own.
///
/// It inherits standard output and error and the read end of a lifeline, nothing else: when the
/// lifeline's other end closes, its parent has died. Whoever starts one waits for it, once.
struct PipelineChild: Sendable {
    /// Where the child finds its lifeline.
    package static let lifelineDescriptor: Int32 = 3

    let processID: pid_t

    /// Throws ``SpawnFailure``.
    init(
        program: String, arguments: [String], environment: [String], lifeline: Int32
    ) throws(SpawnFailure) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, lifeline, Self.lifelineDescriptor)
        // A connection that another thread is opening right now is not yet closed on exec.
        _ = addCloseFrom(&actions, Self.lifelineDescriptor + 1)

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
        let settings = environment.map { strdup($0) }
        defer { for text in words + settings { free(text) } }
        var processID = pid_t()
        let status = posix_spawn(
            &processID, program, &actions, &attributes, words + [nil], settings + [nil])
        guard status == 0 else { throw SpawnFailure(reason: String(cString: strerror(status))) }
        self.processID = processID
    }

    /// Blocks until it has ended. It stays a zombie, so its id remains its own until `reap`.
    func waitForEnd() {
        var information = siginfo_t()
        while waitid(P_PID, id_t(processID), &information, WEXITED | WNOWAIT) != 0 {
            // Someone else waited for it.
            if errno != EINTR { return }
        }
    }

    /// How it ended, which must have come to pass.
    func reap() -> ProcessEnd {
        var status: Int32 = 0
        while waitpid(processID, &status, 0) != processID {
            if errno != EINTR { return .exited(-1) }
        }
        let signal = status & 0x7F
        return signal == 0 ? .exited(status >> 8 & 0xFF) : .signalled(signal)
    }
}

struct SpawnFailure: Error {
    let reason: String
}

// glibc 2.34; its header shows it with _GNU_SOURCE only.
@_silgen_name("posix_spawn_file_actions_addclosefrom_np")
private func addCloseFrom(
    _ actions: UnsafeMutablePointer<posix_spawn_file_actions_t>, _ first: Int32
) -> Int32

/// A pipe that nobody ever writes to: its read end shows when the process that holds the other end
/// is gone.
struct Lifeline: Sendable {
    let readEnd: Int32
    private let writeEnd: Int32

    /// Both ends are closed on exec. Traps when the process has no descriptor left.
    init() {
        var ends: [Int32] = [-1, -1]
        precondition(pipe(&ends) == 0, "no descriptor is left for a pipe: raise ulimit -n")
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        readEnd = ends[0]
        writeEnd = ends[1]
    }

    func close() {
        _ = Glibc.close(readEnd)
        _ = Glibc.close(writeEnd)
    }
}

// SPDX-License-Identifier: Apache-2.0

import Glibc
import Synchronization

/// Tells when the private PostgreSQL ends while nobody stopped it. Without that the broker would
/// go on asking for connections that cannot come any more.
///
/// Owns a thread that sleeps in waitid(2). It only looks: the child's end stays for `ChildProcess`
/// to take, so that the process id cannot become another's before that.
final class ServerWatch: Sendable {
    private let isOver = Atomic(false)
    private let processID: pid_t
    private let report: @Sendable () -> Void

    init(processID: pid_t, report: @escaping @Sendable () -> Void) {
        self.processID = processID
        self.report = report
    }

    /// Begins to watch; `report` is called once at most, on the watching thread.
    func start() {
        var thread = pthread_t()
        let box = Unmanaged.passRetained(self)
        let status = pthread_create(&thread, nil, Self.run, box.toOpaque())
        guard status == 0 else {
            box.release()
            return
        }
        pthread_detach(thread)
    }

    /// From here on an end is expected.
    func stop() {
        isOver.store(true, ordering: .relaxed)
    }

    private static let run: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? =
        { context in
            guard let context else { return nil }
            Unmanaged<ServerWatch>.fromOpaque(context).takeRetainedValue().wait()
            return nil
        }

    private func wait() {
        // The process's signals are the event loop's.
        var signals = sigset_t()
        sigfillset(&signals)
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        var info = siginfo_t()
        while waitid(P_PID, id_t(processID), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR {}
        if !isOver.exchange(true, ordering: .relaxed) { report() }
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import BrokerConfiguration
import Glibc
import LibUV

/// The process in the background, and the one that the user started, which waits until it is ready.
///
/// pgbouncer's ends at once, whatever becomes of the other; here a start that fails is told by the exit status.
struct Daemon {
    /// What the waiting process reads: a byte, or the end.
    private let descriptor: Int32
    /// Standard output and error stay.
    private let keepsErrors: Bool

    /// Goes on in a process of its own, in a session of its own, without a terminal. To be called before there are
    /// threads.
    static func begin(_ settings: Settings) throws -> Daemon {
        guard settings.pidfile != nil else {
            Output.error("pglease: daemon needs pidfile configured")
            throw ExitCode(ExitStatus.configuration)
        }
        guard settings.logfile != nil || settings.syslog else {
            Output.error(
                "pglease: daemon needs logfile or syslog configured: nobody would read its log")
            throw ExitCode(ExitStatus.configuration)
        }
        return try fork(keepsErrors: false)
    }

    /// The same for a process whose log is read from where it goes, as that of a service manager.
    static func detach() throws -> Daemon { try fork(keepsErrors: true) }

    private static func fork(keepsErrors: Bool) throws -> Daemon {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw refuse("pipe") }
        _ = fcntl(ends[1], F_SETFD, FD_CLOEXEC)
        let child = ProcessFork.fork()
        if child < 0 { throw refuse("fork") }
        if child > 0 {
            close(ends[1])
            waitForReadiness(ends[0], of: child)
        }
        close(ends[0])
        guard setsid() >= 0 else { throw refuse("setsid") }
        let null = open("/dev/null", O_RDWR)
        guard null >= 0 else { throw refuse("/dev/null") }
        dup2(null, STDIN_FILENO)
        if !keepsErrors { dup2(null, STDOUT_FILENO) }
        // Standard error stays until it is ready: what goes wrong at the start is told.
        if null > 2 { close(null) }
        return Daemon(descriptor: ends[1], keepsErrors: keepsErrors)
    }

    /// The one who waits may go.
    func isReady() {
        let null = keepsErrors ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC)
        if null >= 0 {
            dup2(null, STDERR_FILENO)
            if null > 2 { close(null) }
        }
        var byte: UInt8 = 1
        _ = write(descriptor, &byte, 1)
        close(descriptor)
    }

    private static func waitForReadiness(_ descriptor: Int32, of child: Int32) -> Never {
        var byte: UInt8 = 0
        var count = 0
        repeat { count = read(descriptor, &byte, 1) } while count < 0 && errno == EINTR
        if count == 1 { _exit(0) }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        let ended = status & 0x7f == 0
        _exit(ended ? (status >> 8) & 0xff : 128 + status & 0x7f)
    }

    private static func refuse(_ what: String) -> ExitCode {
        Output.error("pglease: \(what): \(String(cString: strerror(errno)))")
        return ExitCode(ExitStatus.operatingSystem)
    }
}

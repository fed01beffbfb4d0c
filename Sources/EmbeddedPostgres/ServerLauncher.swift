// SPDX-License-Identifier: Apache-2.0

import Glibc
import LibUV

/// Starts PostgreSQL's programs as the account that owns the data, bound to this process's life.
///
/// `setpriv` sets the parent-death signal after it has changed the user (the kernel clears it at
/// that moment), so that PostgreSQL gets a fast shutdown however the broker ends, `kill -9`
/// included. The signal follows the thread that spawned: that must be the main thread.
struct ServerLauncher {
    /// Nil: no change of user.
    let account: UserAccount?
    private let setpriv: String

    init(account: UserAccount?, environment: [String: String]) throws(EmbeddedPostgresError) {
        guard let setpriv = ProgramSearch(environment: environment).find("setpriv") else {
            throw .launcherNotFound
        }
        self.account = account
        self.setpriv = setpriv
    }

    /// Root hands the data to `postgres`, else to `nobody`; everyone else keeps it.
    static func serverAccount() throws(EmbeddedPostgresError) -> UserAccount? {
        guard geteuid() == 0 else { return nil }
        guard let account = UserAccount(named: "postgres") ?? UserAccount(named: "nobody"),
            account.userID != 0
        else { throw .noServerAccount }
        return account
    }

    func start(
        _ program: String, _ arguments: [String], output: Int32
    ) throws(EmbeddedPostgresError) -> ChildProcess {
        var words = ["--pdeathsig", "INT"]
        if let account {
            words += [
                "--reuid", String(account.userID), "--regid", String(account.groupID),
                "--init-groups",
            ]
        }
        return try ChildProcess(
            program: setpriv, arguments: words + ["--", program] + arguments,
            environment: Self.cleanEnvironment(account: account), output: output)
    }

    /// Runs a program to its end; what it printed is in the error.
    @discardableResult
    func run(_ program: String, _ arguments: [String]) throws(EmbeddedPostgresError) -> String {
        let capture = try OutputCapture()
        let child = try start(program, arguments, output: capture.writeEnd)
        let output = capture.readToEnd()
        let status = child.wait()
        guard status == .exited(0) else {
            throw .commandFailed(
                program: program, status: status.description, output: output)
        }
        return output
    }

    /// Nothing of the broker's own surroundings: a PGHOST or PGDATA there is not meant for this.
    private static func cleanEnvironment(account: UserAccount?) -> [String: String] {
        var environment = [
            "PATH": "/usr/local/bin:/usr/bin:/bin", "LC_MESSAGES": "C", "LANG": "C.UTF-8",
        ]
        if let account = account ?? .current {
            environment["HOME"] = account.home
            environment["USER"] = account.name
        }
        return environment
    }
}

/// A pipe that collects what a program prints.
private struct OutputCapture: ~Copyable {
    private let readEnd: Int32
    let writeEnd: Int32

    init() throws(EmbeddedPostgresError) {
        do throws(UVError) {
            (readEnd, writeEnd) = try Descriptor.makePipe()
        } catch {
            throw .spawnFailed(program: "uv_pipe", reason: error.message)
        }
    }

    /// Closes this side's writing end and reads until the program's is closed.
    consuming func readToEnd() -> String {
        close(writeEnd)
        defer { close(readEnd) }
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(readEnd, &chunk, chunk.count)
            if count > 0 { all += chunk[..<count] }
            if count == 0 || (count < 0 && errno != EINTR) { break }
        }
        return String(decoding: all, as: UTF8.self)
    }
}

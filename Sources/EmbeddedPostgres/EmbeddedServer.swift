// SPDX-License-Identifier: Apache-2.0

import Glibc
package import Logging

/// A private PostgreSQL of the broker's own (`--embedded`): made at the first start, found again at
/// the next, stopped with the broker.
///
/// Owns the server process, the state folder's lock and, through them, the data. The server listens
/// on no TCP port, only on a Unix socket in a folder that its own account (and root) may enter. Its
/// authentication is `trust`: whoever reaches the socket could read the data files as well, and the
/// broker can log in as any role, which a password or `peer` would not give when the broker is root
/// and the server is not. Who may use which role is decided by the broker's own authentication.
///
/// Start it on the main thread: the server ends with the thread that started it.
package final class EmbeddedServer {
    /// What a start needs to know.
    package struct Options {
        /// `state_dir`; nil or empty: the default.
        package var stateDirectory: String?
        package var environment: [String: String]
        /// Crash recovery of much data takes its time.
        package var startLimit: Duration
        package var logger: Logger

        package init(
            stateDirectory: String?, environment: [String: String],
            startLimit: Duration = .seconds(120), logger: Logger
        ) {
            self.stateDirectory = stateDirectory
            self.environment = environment
            self.startLimit = startLimit
            self.logger = logger
        }
    }

    package let stateFolder: StateFolder
    package let programs: PostgresPrograms
    /// The roles (and databases) that were there or made for the users who started the broker.
    package let roles: [String]

    private let server: ChildProcess
    private let lock: StateLock
    private var watch: ServerWatch?

    /// The superuser that initdb makes.
    private static let superuser = "postgres"

    package init(_ options: Options) throws(EmbeddedPostgresError) {
        let account = try ServerLauncher.serverAccount()
        let launcher = try ServerLauncher(account: account, environment: options.environment)
        stateFolder = try StateFolder.choose(
            configured: options.stateDirectory, environment: options.environment,
            launcher: .current, server: account)
        programs = try PostgresPrograms.find(
            environment: options.environment, dataVersion: stateFolder.dataVersion(),
            dataFolder: stateFolder.dataPath)
        try stateFolder.prepare(owner: account)
        if let note = stateFolder.note {
            options.logger.notice(
                "the state folder is not in the home folder",
                metadata: ["state.folder": "\(stateFolder.path)", "reason": "\(note)"])
        }
        lock = try StateLock(stateFolder)
        if stateFolder.dataVersion() == nil {
            try Self.makeData(in: stateFolder, with: programs, launcher, options.logger)
        }
        try Self.endLeftover(in: stateFolder, options.logger)
        server = try Self.launch(in: stateFolder, with: programs, launcher)
        do throws(EmbeddedPostgresError) {
            try Self.awaitReady(server, in: stateFolder, limit: options.startLimit)
            roles = try Self.makeRoles(
                for: Self.starters(environment: options.environment), in: stateFolder)
        } catch {
            Self.stop(server)
            throw error
        }
        options.logger.info(
            "private PostgreSQL is ready",
            metadata: [
                "server.version": "\(programs.majorVersion)", "server.pid": "\(server.processID)",
                "state.folder": "\(stateFolder.path)",
            ])
    }

    /// The postmaster.
    package var processID: Int32 { server.processID }

    /// How the server ended, while nobody stopped it; nil while it runs.
    package var unexpectedEnd: String? { server.poll()?.description }

    /// Calls `report` once, on a thread of its own, when the server ends before `stop`.
    package func watch(_ report: @escaping @Sendable () -> Void) {
        let watch = ServerWatch(processID: server.processID, report: report)
        self.watch = watch
        watch.start()
    }

    /// Where the server writes its own log.
    package var logPath: String { stateFolder.logPath }

    /// What the broker connects to, every database and role of it. The host is escaped: a path.
    package var databaseURL: String {
        let safe = Array("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~".utf8)
        let digits = Array("0123456789ABCDEF".utf8)
        var host: [UInt8] = []
        for byte in stateFolder.socketFolder.utf8 {
            if safe.contains(byte) {
                host.append(byte)
            } else {
                host += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return "postgresql:///postgres?host=\(String(decoding: host, as: UTF8.self))"
            + "&port=\(StateFolder.port)"
    }

    /// Ends the server: sessions are ended, data is written. Again: nothing.
    package func stop() {
        watch?.stop()
        Self.stop(server)
    }

    /// A fast shutdown; an immediate one when that takes too long (the next start recovers).
    private static func stop(_ server: ChildProcess) {
        server.send(signal: SIGINT)
        if server.wait(atMost: .seconds(20)) != nil { return }
        server.send(signal: SIGQUIT)
        if server.wait(atMost: .seconds(10)) != nil { return }
        server.send(signal: SIGKILL)
        _ = server.wait()
    }

    /// initdb beside the final place, moved there when whole: what an interrupted one left is never
    /// taken for data.
    private static func makeData(
        in folder: StateFolder, with programs: PostgresPrograms, _ launcher: ServerLauncher,
        _ logger: Logger
    ) throws(EmbeddedPostgresError) {
        logger.info("making a private PostgreSQL", metadata: ["state.folder": "\(folder.path)"])
        try folder.prepareUnfinishedData(owner: launcher.account)
        // C.UTF-8 sorts by code point and knows the case of every letter; not every libc has it.
        let locale = newlocale(1 << LC_CTYPE, "C.UTF-8", nil)
        if let locale { freelocale(locale) }
        try launcher.run(
            programs.initdb,
            [
                "-D", folder.unfinishedDataPath, "-U", superuser, "-E", "UTF8",
                "--locale=\(locale == nil ? "C" : "C.UTF-8")", "--auth=trust",
            ])
        guard rename(folder.unfinishedDataPath, folder.dataPath) == 0 else {
            throw .stateFolder(
                path: folder.path, reason: "rename: \(String(cString: strerror(errno)))")
        }
    }

    /// A server of an earlier broker that was killed is on its way out: waits for it, and hurries it.
    /// A file that names a process which is none of ours is removed: PostgreSQL itself would refuse
    /// to start while any process has that id.
    private static func endLeftover(
        in folder: StateFolder, _ logger: Logger
    ) throws(EmbeddedPostgresError) {
        guard let leftover = PostmasterFile(dataPath: folder.dataPath) else { return }
        guard leftover.isServing(dataPath: folder.dataPath) else {
            logger.info(
                "the private PostgreSQL was not stopped cleanly: it recovers",
                metadata: ["state.folder": "\(folder.path)"])
            unlink("\(folder.dataPath)/postmaster.pid")
            return
        }
        for (signal, limit) in [(SIGINT, Duration.seconds(20)), (SIGQUIT, .seconds(10))] {
            kill(leftover.processID, signal)
            let deadline = ContinuousClock.now + limit
            while ContinuousClock.now < deadline {
                if !leftover.isServing(dataPath: folder.dataPath) { return }
                Pause.short()
            }
        }
        throw .startFailed(
            reason: "an earlier server, process id \(leftover.processID), does not end",
            logPath: folder.logPath, logTail: TextFile.tail(folder.logPath, lines: 10))
    }

    private static func launch(
        in folder: StateFolder, with programs: PostgresPrograms, _ launcher: ServerLauncher
    ) throws(EmbeddedPostgresError) -> ChildProcess {
        let log = try ServerLog.open(folder)
        defer { close(log) }
        return try launcher.start(
            programs.postgres,
            [
                "-D", folder.dataPath, "-k", folder.socketFolder, "-p", String(StateFolder.port),
                "-c", "listen_addresses=", "-c", "unix_socket_permissions=0700",
                "-c", "logging_collector=off", "-c", "log_destination=stderr",
                "-c", "cluster_name=pglease",
            ], output: log)
    }

    private static func awaitReady(
        _ server: ChildProcess, in folder: StateFolder, limit: Duration
    ) throws(EmbeddedPostgresError) {
        let deadline = ContinuousClock.now + limit
        func failure(_ reason: String) -> EmbeddedPostgresError {
            .startFailed(
                reason: reason, logPath: folder.logPath,
                logTail: TextFile.tail(folder.logPath, lines: 10))
        }
        while true {
            if let status = server.poll() { throw failure("it ended with \(status)") }
            if let file = PostmasterFile(dataPath: folder.dataPath),
                file.processID == server.processID, file.isReady
            {
                return
            }
            if ContinuousClock.now >= deadline { throw failure("not ready after \(limit)") }
            Pause.short()
        }
    }

    /// Who started the broker: this user and, behind sudo, the one who called it.
    private static func starters(environment: [String: String]) -> [String] {
        var names: [String] = []
        if let name = UserAccount.current?.name { names.append(name) }
        if geteuid() == 0, let name = environment["SUDO_USER"], !name.isEmpty,
            !names.contains(name)
        {
            names.append(name)
        }
        return names
    }

    private static func makeRoles(
        for names: [String], in folder: StateFolder
    ) throws(EmbeddedPostgresError) -> [String] {
        do {
            try EmbeddedRoles.make(
                names, superuser: superuser,
                socketPath: "\(folder.socketFolder)/.s.PGSQL.\(StateFolder.port)")
        } catch {
            throw .setUpFailed(reason: error.description)
        }
        return names
    }
}

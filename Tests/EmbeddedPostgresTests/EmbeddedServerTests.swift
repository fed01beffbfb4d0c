// SPDX-License-Identifier: Apache-2.0

import EmbeddedPostgres
import Glibc
import Logging
import PostgresProbe
import PostgresWire
import Synchronization
import Testing

/// A state folder of the test's own, that PostgreSQL's account may enter, removed at the end.
private final class ScratchFolder {
    let path: String

    init() {
        var template = Array("/tmp/pglease-embedded-XXXXXX".utf8CString)
        precondition(mkdtemp(&template) != nil)
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        chmod(path, 0o755)
    }

    deinit {
        var processID = pid_t()
        let arguments: [String] = ["rm", "-rf", "--", path]
        let words = arguments.map { strdup($0) }
        posix_spawn(&processID, "/bin/rm", nil, nil, words + [nil], nil)
        var status: Int32 = 0
        waitpid(processID, &status, 0)
        for word in words { free(word) }
    }
}

/// Starts a server on a thread of its own, whose end is for the kernel what a broker's end is.
private final class Starter {
    private let start: () throws -> EmbeddedServer
    private var result: Result<EmbeddedServer, any Error>?

    init(_ start: @escaping () throws -> EmbeddedServer) { self.start = start }

    func runOnThreadThatEnds() throws -> EmbeddedServer {
        var thread = pthread_t()
        let status = pthread_create(
            &thread, nil,
            { argument in
                let starter = Unmanaged<Starter>.fromOpaque(argument!).takeUnretainedValue()
                starter.result = Result { try starter.start() }
                return nil
            }, Unmanaged.passUnretained(self).toOpaque())
        precondition(status == 0 && pthread_join(thread, nil) == 0)
        return try result!.get()
    }
}

/// All tests start PostgreSQL from one thread: it ends with the thread that started it, and a test's
/// thread is the same from begin to end of a synchronous test.
@Suite("Private PostgreSQL", .serialized)
struct EmbeddedServerTests {
    private static let quiet = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    private static var environment: [String: String] {
        ["PATH": String(cString: getenv("PATH")), "HOME": "/nowhere"]
    }

    private func start(in folder: ScratchFolder) throws -> EmbeddedServer {
        try EmbeddedServer(
            .init(
                stateDirectory: folder.path, environment: Self.environment, logger: Self.quiet))
    }

    private func query(
        _ sql: String, as user: String, of postgres: EmbeddedServer
    ) throws -> [String] {
        var connection = try ProbeConnection(
            to: .unix(path: postgres.stateFolder.socketFolder + "/.s.PGSQL.5432"),
            deadline: .now + .seconds(20))
        try connection.logIn(user: user, database: user, applicationName: "test")
        let rows = try connection.query(sql)
        connection.logOut()
        return rows
    }

    @Test("the first start makes it, the next finds the same data; the starter has a role")
    func lifeCycle() throws {
        let folder = ScratchFolder()
        let me = try #require(UserAccount.current?.name)
        do {
            let postgres = try start(in: folder)
            defer { postgres.stop() }
            #expect(postgres.roles == [me])
            #expect(postgres.unexpectedEnd == nil)
            #expect(postgres.databaseURL.hasPrefix("postgresql:///postgres?host=%2Ftmp%2F"))
            #expect(try query("CREATE TABLE kept AS SELECT 42 AS n", as: me, of: postgres) == [])
            #expect(try query("SHOW server_encoding", as: me, of: postgres) == ["UTF8"])
            #expect(try query("SHOW listen_addresses", as: me, of: postgres) == [""])
            #expect(try query("SHOW fsync", as: me, of: postgres) == ["on"])
            let isSuperuser = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
            #expect(try query(isSuperuser, as: me, of: postgres) == ["t"])
            #expect(throws: EmbeddedPostgresError.self, "two at once") { try start(in: folder) }
        }
        let postgres = try start(in: folder)
        defer { postgres.stop() }
        #expect(try query("SELECT n FROM kept", as: me, of: postgres) == ["42"])
    }

    @Test("killed: the next start recovers, though its old process id lives as another process")
    func recovery() throws {
        let folder = ScratchFolder()
        let me = try #require(UserAccount.current?.name)
        do {
            let postgres = try start(in: folder)
            _ = try query("CREATE TABLE kept AS SELECT 7 AS n", as: me, of: postgres)
            kill(postgres.processID, SIGKILL)
            postgres.stop()
        }
        let pidFile = "\(folder.path)/data/postmaster.pid"
        let file = open(pidFile, O_WRONLY)
        #expect(file >= 0, "a killed server leaves its file")
        // Same length as a real one does not matter: only the first line is looked at.
        let text = Array("\(getpid())\n".utf8)
        #expect(pwrite(file, text, text.count, 0) == text.count)
        close(file)
        let postgres = try start(in: folder)
        defer { postgres.stop() }
        #expect(try query("SELECT n FROM kept", as: me, of: postgres) == ["7"])
    }

    @Test("what an interrupted initdb left is not taken for data")
    func interruptedInitdb() throws {
        let folder = ScratchFolder()
        mkdir("\(folder.path)/data.unfinished", 0o700)
        close(open("\(folder.path)/data.unfinished/PG_VERSION", O_CREAT | O_WRONLY, 0o600))
        let postgres = try start(in: folder)
        postgres.stop()
        #expect(access("\(folder.path)/data/PG_VERSION", F_OK) == 0)
        #expect(access("\(folder.path)/data.unfinished", F_OK) != 0)
    }

    @Test("nobody else reaches the data or the socket")
    func privacy() throws {
        let folder = ScratchFolder()
        let postgres = try start(in: folder)
        defer { postgres.stop() }
        for path in [postgres.stateFolder.dataPath, postgres.stateFolder.socketFolder] {
            var status = stat()
            #expect(lstat(path, &status) == 0)
            #expect(status.st_mode & 0o077 == 0, "\(path)")
        }
    }

    @Test("a server that ends by itself is noticed, with its log in the error at the start")
    func failures() throws {
        let folder = ScratchFolder()
        try start(in: folder).stop()
        let settings = "\(folder.path)/data/postgresql.auto.conf"
        let file = open(settings, O_WRONLY | O_APPEND)
        let line = Array("no_such_setting = 1\n".utf8)
        #expect(write(file, line, line.count) == line.count)
        close(file)
        do {
            _ = try start(in: folder)
            Issue.record("it started with a wrong setting")
        } catch EmbeddedPostgresError.startFailed(let reason, _, let tail) {
            #expect(reason == "it ended with exit status 1")
            #expect(tail.contains("no_such_setting"))
        }
    }

    @Test("the server ends with whoever started it, without being told")
    func boundLife() throws {
        let folder = ScratchFolder()
        let starter = Starter { try self.start(in: folder) }
        let postgres = try starter.runOnThreadThatEnds()
        let deadline = ContinuousClock.now + .seconds(20)
        while postgres.unexpectedEnd == nil, ContinuousClock.now < deadline { sched_yield() }
        #expect(postgres.unexpectedEnd == "exit status 0")
        #expect(access("\(folder.path)/data/postmaster.pid", F_OK) != 0, "a clean shutdown")
    }

    @Test(
        "a server that is killed is reported, one that is stopped is not", arguments: [true, false])
    func watched(isKilled: Bool) throws {
        let folder = ScratchFolder()
        let postgres = try start(in: folder)
        let reports = Atomic(0)
        postgres.watch { reports.add(1, ordering: .sequentiallyConsistent) }
        if isKilled {
            kill(postgres.processID, SIGKILL)
            let deadline = ContinuousClock.now + .seconds(20)
            while reports.load(ordering: .sequentiallyConsistent) == 0,
                ContinuousClock.now < deadline
            { sched_yield() }
            #expect(postgres.unexpectedEnd == "signal 9")
        }
        postgres.stop()
        #expect(reports.load(ordering: .sequentiallyConsistent) == (isKilled ? 1 : 0))
    }

    @Test("PostgreSQL's programs: where they are looked for, and what is said when they are not")
    func programs() throws {
        var environment = Self.environment
        let found = try PostgresPrograms.find(
            environment: environment, dataVersion: nil, dataFolder: "/x")
        #expect(found.majorVersion >= 10)
        environment["PGLEASE_POSTGRES_BIN"] = "/nowhere"
        #expect(throws: EmbeddedPostgresError.programsNotFound(searched: ["/nowhere"])) {
            try PostgresPrograms.find(environment: environment, dataVersion: nil, dataFolder: "/x")
        }
        environment["PGLEASE_POSTGRES_BIN"] = found.folder
        #expect(
            throws: EmbeddedPostgresError.versionMismatch(
                data: 9, folder: "/x",
                found: ["PostgreSQL \(found.majorVersion) (\(found.folder))"])
        ) {
            try PostgresPrograms.find(environment: environment, dataVersion: 9, dataFolder: "/x")
        }
    }

    @Test("the state folder: configured, XDG, home; never one that the server may not enter")
    func stateFolder() throws {
        let launcher = UserAccount(name: "a", userID: 4001, groupID: 4001, home: "/home/a")
        func choose(
            _ configured: String?, _ environment: [String: String], server: UserAccount? = nil
        ) throws -> StateFolder {
            try StateFolder.choose(
                configured: configured, environment: environment, launcher: launcher,
                server: server)
        }
        #expect(try choose("/x/y", ["HOME": "/h"]).path == "/x/y")
        #expect(try choose("", ["HOME": "/h"]).path == "/h/.local/state/pglease")
        #expect(try choose(nil, [:]).path == "/home/a/.local/state/pglease")
        #expect(
            try choose(nil, ["HOME": "/h", "XDG_STATE_HOME": "/s"]).path == "/s/pglease")

        let closed = ScratchFolder()
        chmod(closed.path, 0o700)
        let server = UserAccount(name: "stranger", userID: 4002, groupID: 4002, home: "/")
        #expect(throws: EmbeddedPostgresError.self) {
            try choose("\(closed.path)/state", [:], server: server)
        }
        let fallback = try choose(nil, ["HOME": closed.path], server: server)
        #expect(fallback.path == "/var/lib/pglease")
        #expect(fallback.note == "stranger, who runs PostgreSQL, may not enter \(closed.path)")
    }

    @Test("a folder too deep for a socket's name has its socket elsewhere, always the same")
    func longPath() throws {
        let deep = "/" + String(repeating: "d", count: 120)
        func folder(_ path: String) throws -> String {
            try StateFolder.choose(
                configured: path, environment: [:], launcher: nil, server: nil
            ).socketFolder
        }
        #expect(try folder(deep).hasPrefix("/tmp/pglease-\(geteuid())-"))
        #expect(try folder(deep) == folder(deep))
        #expect(try folder(deep) != folder(deep + "x"))
        #expect(try folder("/short") == "/short/run")
    }
}

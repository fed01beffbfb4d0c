// SPDX-License-Identifier: Apache-2.0

import Glibc

/// The folder that a private PostgreSQL's data, socket and log live in.
///
/// `data` and `run` belong to the account that PostgreSQL runs as and are closed to all others;
/// `lock` is held by the one broker that uses the folder.
package struct StateFolder: Equatable, Sendable {
    package let path: String
    /// Where the Unix socket is: in the folder, or beside it when its name would be too long.
    package let socketFolder: String
    /// Why it is not the folder that one would expect; nil when it is.
    package let note: String?

    package var dataPath: String { "\(path)/data" }
    package var logPath: String { "\(path)/postgresql.log" }
    var unfinishedDataPath: String { "\(path)/data.unfinished" }
    var lockPath: String { "\(path)/lock" }

    /// The port is part of a socket's name only: the server does not listen on TCP.
    static let port = 5432
    private static let longestSocketPath = 107

    init(path: String, note: String? = nil) {
        self.path = path
        self.note = note
        let folder = "\(path)/run"
        if "\(folder)/.s.PGSQL.\(Self.port)".utf8.count <= Self.longestSocketPath {
            socketFolder = folder
        } else {
            socketFolder = "/tmp/pglease-\(geteuid())-\(String(Self.hash(path), radix: 16))"
        }
    }

    /// `configured` (`state_dir`, `PGLEASE_STATE_DIR`), else the XDG state folder. When the server
    /// runs as another user and the default is in a home that is closed to it: /var/lib/pglease.
    package static func choose(
        configured: String?, environment: [String: String], launcher: UserAccount?,
        server: UserAccount?
    ) throws(EmbeddedPostgresError) -> StateFolder {
        if let configured, !configured.isEmpty {
            let path = absolute(configured)
            if let server, let closed = closedParent(of: path, to: server) {
                throw .stateFolder(
                    path: path,
                    reason: "PostgreSQL runs as \(server.name), who may not enter \(closed)")
            }
            return StateFolder(path: path)
        }
        let path = try defaultPath(environment: environment, launcher: launcher)
        if let server, let closed = closedParent(of: path, to: server) {
            return StateFolder(
                path: "/var/lib/pglease",
                note: "\(server.name), who runs PostgreSQL, may not enter \(closed)")
        }
        return StateFolder(path: path)
    }

    /// The major version of the data that is there; nil when there is none yet.
    func dataVersion() -> Int? {
        guard let text = TextFile.read("\(dataPath)/PG_VERSION") else { return nil }
        return Int(text.prefix { $0.isNumber })
    }

    /// Makes the folder and what is in it, with owners and modes.
    func prepare(owner: UserAccount?) throws(EmbeddedPostgresError) {
        // The server's account passes through; only its own folders can be read.
        try makeFolders(upTo: path)
        guard chmod(path, owner == nil ? 0o700 : 0o711) == 0 else { throw failure("chmod") }
        try makePrivate(socketFolder, owner: owner)
    }

    /// An empty folder for initdb, whatever an interrupted one left there.
    func prepareUnfinishedData(owner: UserAccount?) throws(EmbeddedPostgresError) {
        let capture = open("/dev/null", O_WRONLY | O_CLOEXEC)
        defer { close(capture) }
        let removal = try ChildProcess(
            program: "/bin/rm", arguments: ["-rf", "--", unfinishedDataPath],
            environment: [:], output: capture)
        guard removal.wait() == .exited(0) else {
            throw .stateFolder(path: path, reason: "\(unfinishedDataPath) cannot be removed")
        }
        try makePrivate(unfinishedDataPath, owner: owner)
    }

    private func makePrivate(_ folder: String, owner: UserAccount?) throws(EmbeddedPostgresError) {
        if mkdir(folder, 0o700) != 0, errno != EEXIST { throw failure("mkdir \(folder)") }
        var status = stat()
        guard lstat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw .stateFolder(path: path, reason: "\(folder) is not a folder")
        }
        let expected = owner?.userID ?? geteuid()
        guard status.st_uid == expected || status.st_uid == geteuid() else {
            throw .stateFolder(path: path, reason: "\(folder) belongs to another user")
        }
        if let owner, lchown(folder, owner.userID, owner.groupID) != 0 { throw failure("chown") }
        guard chmod(folder, 0o700) == 0 else { throw failure("chmod") }
    }

    private func makeFolders(upTo path: String) throws(EmbeddedPostgresError) {
        var folder = ""
        for name in path.split(separator: "/") {
            folder += "/\(name)"
            if mkdir(folder, 0o755) != 0, errno != EEXIST, access(folder, X_OK) != 0 {
                throw failure("mkdir \(folder)")
            }
        }
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else {
            throw .stateFolder(path: path, reason: "not a folder")
        }
        guard status.st_uid == geteuid() else {
            throw .stateFolder(
                path: path,
                reason:
                    "it belongs to \(UserAccount(userID: status.st_uid)?.name ?? "another user")"
            )
        }
    }

    private func failure(_ call: String) -> EmbeddedPostgresError {
        .stateFolder(path: path, reason: "\(call): \(String(cString: strerror(errno)))")
    }

    private static func defaultPath(
        environment: [String: String], launcher: UserAccount?
    ) throws(EmbeddedPostgresError) -> String {
        if let state = environment["XDG_STATE_HOME"], state.hasPrefix("/") {
            return "\(state)/pglease"
        }
        guard let home = environment["HOME"] ?? launcher?.home, home.hasPrefix("/") else {
            throw .stateFolder(
                path: "~/.local/state/pglease", reason: "neither HOME nor XDG_STATE_HOME is set")
        }
        return "\(home)/.local/state/pglease"
    }

    /// The first folder above `path`, as far as they exist, that `account` may not enter.
    private static func closedParent(of path: String, to account: UserAccount) -> String? {
        var folder = ""
        for name in path.split(separator: "/").dropLast() {
            folder += "/\(name)"
            var status = stat()
            guard stat(folder, &status) == 0 else { return nil }
            if !account.mayEnter(status) { return folder }
        }
        return nil
    }

    private static func absolute(_ path: String) -> String {
        if path.hasPrefix("/") { return path }
        guard let folder = getcwd(nil, 0) else { return "/\(path)" }
        defer { free(folder) }
        return "\(String(cString: folder))/\(path)"
    }

    /// FNV-1a: the same name for the same folder at every start.
    private static func hash(_ text: String) -> UInt64 {
        text.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }
}

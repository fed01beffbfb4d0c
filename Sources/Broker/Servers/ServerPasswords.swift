// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibPQ
import LibUV
import Logging
import PostgresWire

/// Passwords for servers that are read when they are needed: tokens that expire, files that something else rewrites.
///
/// Each is read by one worker thread at a time, however many connections wait for it.
struct ServerPasswords {
    /// What is read, and for whom.
    struct Key: Hashable {
        var origin: PasswordOrigin
        /// `PGUSER=…` and so on, for a command.
        var environment: [String]
    }

    struct Known {
        var secret: Secret
        var readAt: Instant
    }

    typealias Continuation = (Result<Known, Failure>) -> Void

    /// Why there is none, without a word of what was read.
    struct Failure: Error, Equatable, Sendable {
        var reason: String
        /// For the log alone: what a command complained of.
        var complaint = ""
    }

    fileprivate var known: [Key: Known] = [:]
    fileprivate var underWay: [Key: [Continuation]] = [:]

    static let timeLimit = Duration.seconds(10)
}

extension Broker {
    /// nil: the password of this pool's role is not read anew.
    private func passwordKey(of pool: DatabasePool) -> (ServerPasswords.Key, ttl: Duration)? {
        passwordKey(pool.entry, database: pool.database, user: pool.user)
    }

    private func passwordKey(
        _ entry: DatabaseEntry, database: String, user: String
    ) -> (ServerPasswords.Key, ttl: Duration)? {
        guard let (origin, ttl) = configuration.passwordOrigin(database: entry, user: user)
        else { return nil }
        let environment = Self.commandEnvironment(origin, entry, database: database, user: user)
        return (ServerPasswords.Key(origin: origin, environment: environment), ttl)
    }

    /// What a command is told of the connection; nothing where a file is read.
    static func commandEnvironment(
        _ origin: PasswordOrigin, _ entry: DatabaseEntry, database: String, user: String
    ) -> [String] {
        guard case .command = origin else { return [] }
        return [
            "PGUSER=\(user)", "PGHOST=\(entry.serverParameter("host") ?? "")",
            "PGPORT=\(entry.serverParameter("port") ?? "5432")",
            "PGDATABASE=\(entry.serverDatabase(requested: database) ?? "")",
        ]
    }

    /// The password that is read for a role there, for a connection of the broker's own. nil: it is not read. With
    /// `isRefused` what was read before is forgotten.
    func readPassword(
        of user: String, _ entry: DatabaseEntry, database: String, isRefused: Bool,
        then goOn: @escaping (Result<Secret?, ServerPasswords.Failure>) -> Void
    ) {
        guard let (key, ttl) = passwordKey(entry, database: database, user: user) else {
            goOn(.success(nil))
            return
        }
        if isRefused { jobs.passwords.known[key] = nil }
        if let known = jobs.passwords.known[key], known.readAt + ttl > now {
            goOn(.success(known.secret))
        } else {
            readPassword(key) { goOn($0.map(\.secret)) }
        }
    }

    func readsPassword(of pool: DatabasePool) -> Bool { passwordKey(of: pool) != nil }

    /// Goes on once the password that this connection is to log in with is known.
    func withPassword(for server: ServerConnection, then goOn: @escaping (ServerConnection) -> Void)
    {
        guard let (key, ttl) = passwordKey(of: server.pool) else {
            goOn(server)
            return
        }
        if let known = jobs.passwords.known[key], known.readAt + ttl > now {
            server.password = known
            server.mayReadPasswordAgain = true
            goOn(server)
            return
        }
        let id = server.id
        readPassword(key) { [weak self] result in
            guard let self, let server = self.server(id), server.isConnecting else { return }
            switch result {
            case .success(let known):
                server.password = known
                goOn(server)
            case .failure(let failure):
                self.connectFailed(server, self.noPassword(failure, server.pool))
            }
        }
    }

    /// True if the server has refused a password that was read for an earlier connection: it is read once more, and the
    /// connection tried again if it is another one now.
    func triesAnotherPassword(_ server: ServerConnection, after failure: ConnectFailure) -> Bool {
        guard server.isConnecting, server.mayReadPasswordAgain, let refused = server.password,
            failure.kind == .permanent, failure.error.sqlState.rawValue.hasPrefix("28"),
            let (key, _) = passwordKey(of: server.pool)
        else { return false }
        server.mayReadPasswordAgain = false
        server.watcher?.close()
        server.watcher = nil
        server.connection?.close(sendTerminate: false)
        server.connection = nil
        server.route?.patienceEnds = nil
        let id = server.id
        let goOn: ServerPasswords.Continuation = { [weak self] result in
            guard let self, let server = self.server(id), server.isConnecting else { return }
            guard case .success(let known) = result, known.secret != refused.secret else {
                self.giveUp(server, failure)
                return
            }
            server.password = known
            self.makePlan(server)
        }
        if let known = jobs.passwords.known[key], known.readAt > refused.readAt {
            goOn(.success(known))
        } else {
            readPassword(key, goOn)
        }
        return true
    }

    private func readPassword(
        _ key: ServerPasswords.Key, _ continuation: @escaping ServerPasswords.Continuation
    ) {
        if jobs.passwords.underWay[key] != nil {
            jobs.passwords.underWay[key]!.append(continuation)
            return
        }
        jobs.passwords.underWay[key] = [continuation]
        let work: @Sendable () -> Result<Secret, ServerPasswords.Failure> = {
            Self.readPassword(key.origin, environment: key.environment)
        }
        do throws(UVError) {
            try loop.submit(work) { [weak self] result in self?.passwordRead(key, result) }
        } catch {
            passwordRead(key, .failure(ServerPasswords.Failure(reason: error.description)))
        }
    }

    private func passwordRead(
        _ key: ServerPasswords.Key, _ result: Result<Secret, ServerPasswords.Failure>
    ) {
        var outcome: Result<ServerPasswords.Known, ServerPasswords.Failure>
        switch result {
        case .success(let secret):
            let known = ServerPasswords.Known(secret: secret, readAt: now)
            jobs.passwords.known[key] = known
            outcome = .success(known)
        case .failure(let failure):
            logger.warning(
                "\(key.origin.name) gave no password",
                metadata: [
                    "reason": "\(failure.reason)",
                    "complaint": "\(SecretRedaction.redact(failure.complaint))",
                ])
            outcome = .failure(failure)
        }
        for continuation in jobs.passwords.underWay.removeValue(forKey: key) ?? [] {
            continuation(outcome)
        }
        dealWithNotices()
    }

    /// After a reload: what is read is read again.
    func forgetPasswords() { jobs.passwords.known = [:] }

    private func noPassword(
        _ failure: ServerPasswords.Failure, _ pool: DatabasePool
    ) -> ConnectFailure {
        ConnectFailure(
            kind: .transient,
            error: .error(
                .invalidPassword,
                "no password for role \"\(pool.user)\": \(failure.reason)",
                hint: "The broker's log has what the command complained of, if it was one."))
    }

    // MARK: On worker threads

    /// Blocks until the file is read, or the command has ended or had its time.
    static func readPassword(
        _ origin: PasswordOrigin, environment: [String]
    ) -> Result<Secret, ServerPasswords.Failure> {
        switch origin {
        case .file(let path): return password(inFile: path)
        case .command(let text):
            let told = Set(environment.map { $0.prefix { $0 != "=" } })
            let others = ownEnvironment.filter { !told.contains($0.prefix { $0 != "=" }) }
            return password(ofCommand: text, environment: others + environment)
        }
    }

    private static var ownEnvironment: [String] {
        let bytes = (try? FileSystem.readBytes("/proc/self/environ")) ?? []
        return bytes.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }

    private static func password(
        inFile path: String
    ) -> Result<Secret, ServerPasswords.Failure> {
        do throws(FileReadError) {
            return secret(try FileSystem.readBytes(path), of: "password_file \(path)")
        } catch {
            return .failure(
                ServerPasswords.Failure(reason: "password_file \(path): \(error.reason)"))
        }
    }

    private static func password(
        ofCommand text: String, environment: [String]
    ) -> Result<Secret, ServerPasswords.Failure> {
        let outcome = ShellCommand.run(
            text, environment: environment, limit: ServerPasswords.timeLimit)
        let complaint = oneLine(String(decoding: outcome.complaint, as: UTF8.self))
        let reason: String
        switch outcome.end {
        case .exited(0):
            return secret(outcome.output, of: "password_command", complaint: complaint)
        case .exited(let status): reason = "ended with status \(status)"
        case .signalled(let signal): reason = "was ended by signal \(signal)"
        case .tooLong: reason = "had not ended after \(ServerPasswords.timeLimit.inSeconds)"
        case .tooMuch: reason = "printed more than \(ShellCommand.mostOutput) bytes"
        case .notStarted(let why): reason = "could not be started: \(why)"
        }
        return .failure(
            ServerPasswords.Failure(reason: "password_command \(reason)", complaint: complaint))
    }

    /// The first line.
    private static func secret(
        _ bytes: [UInt8], of name: String, complaint: String = ""
    ) -> Result<Secret, ServerPasswords.Failure> {
        var line = Array(bytes.prefix { $0 != UInt8(ascii: "\n") })
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        if line.isEmpty {
            return .failure(
                ServerPasswords.Failure(
                    reason: "\(name) gave an empty line", complaint: complaint))
        }
        if line.contains(0) {
            return .failure(
                ServerPasswords.Failure(reason: "\(name) gave a NUL byte", complaint: complaint))
        }
        return .success(Secret(bytes: line))
    }
}

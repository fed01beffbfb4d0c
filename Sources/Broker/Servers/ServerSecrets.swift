// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import LibPQ
import PostgresWire

/// With what the broker logs in as a role.
enum ServerSecret: Equatable {
    /// libpq does it.
    case password(Secret)
    /// `KeyLogin` does it.
    case hashed(HashedSecret)
}

extension Broker {
    /// In the order in which they count: the password of the line in [databases] or of `auth_file`, a hashed secret
    /// of `auth_file`, what a login has taught.
    func serverSecret(of pool: DatabasePool) -> ServerSecret? {
        if let password = pool.password { return .password(password) }
        if let hashed = configured.users.hashedSecret(of: pool.user) { return .hashed(hashed) }
        return pool.learned
    }

    /// Its role is listed with a SCRAM secret that nobody has logged in with yet.
    func awaitsKeys(_ pool: DatabasePool) -> Bool {
        guard serverSecret(of: pool) == nil, !readsPassword(of: pool),
            case .scram? = configured.userList?.secret(for: pool.user)
        else { return false }
        return true
    }

    private func password(of server: ServerConnection) -> Secret? {
        if let read = server.password { return read.secret }
        guard case .password(let password)? = serverSecret(of: server.pool) else { return nil }
        return password
    }

    /// Where it can be among libpq's parameters.
    func textPassword(of server: ServerConnection) -> Secret? {
        password(of: server).flatMap {
            String(validating: $0.bytes, as: UTF8.self) == nil ? nil : $0
        }
    }

    /// One that is no UTF-8 text.
    func rawPassword(of server: ServerConnection) -> [UInt8]? {
        password(of: server).flatMap {
            String(validating: $0.bytes, as: UTF8.self) == nil ? $0.bytes : nil
        }
    }

    // MARK: What logins teach

    /// The client's user is in `auth_file`, and has shown its keys: they are good for all pools of this role.
    func learnKeys(of client: ClientConnection) {
        guard case .hashed(.keys(let keys))? = client.login?.learned,
            configured.users.learn(keys, of: client.user)
        else { return }
        for pool in directory.pools.open.values where pool.user == client.user {
            tryAgain(pool)
        }
    }

    func learn(_ secret: ServerSecret, for pool: DatabasePool) {
        guard pool.learned != secret else { return }
        pool.learned = secret
        tryAgain(pool)
    }

    /// What kept it from being connected may be over.
    private func tryAgain(_ pool: DatabasePool) {
        if pool.lastFailure?.kind == .permanent { post(.poolReconnectRequested(pool.id)) }
    }

    // MARK: The login by keys

    func keyLogin(for server: ServerConnection) -> KeyLogin? {
        guard server.password == nil, case .hashed(let secret)? = serverSecret(of: server.pool)
        else { return nil }
        let arithmetic = OpenSSLArithmetic()
        return KeyLogin(
            secret, nonce: base64Encode(arithmetic.randomBytes(18)), arithmetic: arithmetic)
    }

    /// Whether the first message of what the server says was for `KeyLogin`; then it is dealt with.
    func dealsWithKeys(
        _ bytes: UnsafeRawBufferPointer, _ server: ServerConnection,
        _ connection: PostgresConnection
    ) -> Bool {
        switch server.keyLogin?.look(at: bytes) {
        case nil, .notOurs: return false
        // With TLS there is one record for each message.
        case .incomplete where connection.usesTLS:
            connectFailed(server, Self.badLogin("half a message"))
        case .incomplete: lookAgain(server)
        case .dealtWith(let count, let answer):
            if connection.take(count), answer.isEmpty || connection.say(answer) {
                // What lies behind it may be there already, and announced by no event.
                continueConnect(server)
            } else {
                advanced(server, connection, connection.poll())
            }
        case .failed(let failure): connectFailed(server, keyFailure(failure, server.pool))
        }
        return true
    }

    private func keyFailure(_ failure: KeyLogin.Failure, _ pool: DatabasePool) -> ConnectFailure {
        switch failure {
        case .malformed(let what): return Self.badLogin(what)
        case .otherSecret:
            return ConnectFailure(
                kind: .permanent,
                error: .error(
                    .invalidPassword,
                    "the server has another SCRAM secret of role \"\(pool.user)\"",
                    detail: "Salt or iterations differ from those of the broker's secret.",
                    hint:
                        "Copy rolpassword of pg_authid into auth_file, and RELOAD; or use auth_query, which reads it."
                ))
        case .serverNotProven:
            return ConnectFailure(
                kind: .permanent,
                error: .error(
                    .invalidAuthorization, "the server has not shown that it knows the secret",
                    hint:
                        "Check host and port in [databases], and who answers there."))
        }
    }

    // MARK: Who asks auth_query

    /// Whether a pool is kept for `auth_query`, whatever user its database's line has for clients.
    func asksQueries(_ key: PoolKey) -> Bool {
        if let user = settings.authUser, user == key.user { return true }
        return configuration.databases.contains { $0.authUser == key.user }
    }
}

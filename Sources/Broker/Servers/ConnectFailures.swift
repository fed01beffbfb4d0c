// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import LibPQ
import Logging
import PostgresWire

/// What a connection that could not be opened means, and what is said about it.
extension Broker {
    func failure(of server: ServerConnection) -> ConnectFailure {
        guard let failure = server.connection?.failure else {
            return ConnectFailure(
                kind: .transient,
                error: .error(.connectionNotEstablished, "no descriptor is left for a connection"))
        }
        if let reason = failure.finalFailure { return refusal(reason, failure, server.pool) }
        let kind = Self.kind(of: failure, hasOwnProfile: server.startupProfile != .serverDefault)
        let state =
            kind == .transient
            ? SQLState.connectionNotEstablished
            : failure.sqlState.flatMap(SQLState.init(rawValue:)) ?? .connectionNotEstablished
        return ConnectFailure(
            kind: kind,
            error: PgError(
                sqlState: state, message: failure.message, detail: failure.detail,
                hint: failure.hint ?? advice(kind, state, Self.scope(of: failure), server.pool)),
            scope: Self.scope(of: failure))
    }

    private func advice(
        _ kind: ConnectFailure.Kind, _ state: SQLState, _ scope: FenceScope, _ pool: DatabasePool
    ) -> String? {
        guard kind == .saturated else { return passwordAdvice(state, pool) }
        let served = "The broker goes on with the connections that it has."
        let bound = sharedBound(of: pool).map {
            ", or the total of shared bound \"\($0.name)\" (pglease share set)"
        }
        let less: String
        let more: String
        switch scope {
        case .server: (more, less) = ("max_connections of PostgreSQL", "max_server_connections")
        case .database: (more, less) = ("the database's CONNECTION LIMIT", "max_db_connections")
        case .role: (more, less) = ("the role's CONNECTION LIMIT", "max_user_connections")
        }
        return "\(served) Raise \(more), or lower pool_size or \(less)\(bound ?? "")."
    }

    private static func kind(
        of failure: ConnectionFailure, hasOwnProfile: Bool
    ) -> ConnectFailure.Kind {
        guard let state = failure.sqlState else { return .transient }
        if state == SQLState.tooManyConnections.rawValue { return .saturated }
        // The database takes nobody in (ALLOW_CONNECTIONS false).
        if state == SQLState.objectNotInPrerequisite.rawValue { return .permanent }
        let stateClass = String(state.prefix(2))
        // A startup parameter of the client's own that the server does not take.
        if hasOwnProfile, stateClass == "25" || stateClass == "55" { return .permanent }
        return passingClasses.contains(stateClass) ? .transient : .permanent
    }

    /// What may be over soon: the network, a state of the server, its resources, an operator, its disk, a fault. All
    /// others will be the same next time: the login, the database, a privilege, a parameter, what a trigger of the login
    /// raises (in whatever class).
    private static let passingClasses: Set<String> = [
        "08", "25", "40", "53", "54", "55", "57", "58", "F0", "XX",
    ]

    /// Which limit of PostgreSQL refused: by the function that did, in whatever language it speaks.
    private static func scope(of failure: ConnectionFailure) -> FenceScope {
        switch failure.routine {
        case "CheckMyDatabase": return .database
        case "InitializeSessionUserId": return .role
        default: break
        }
        if failure.message.hasPrefix("too many connections for database") { return .database }
        return failure.message.hasPrefix("too many connections for role") ? .role : .server
    }

    /// libpq itself refuses, and will refuse again.
    private func refusal(
        _ reason: FinalFailure, _ failure: ConnectionFailure, _ pool: DatabasePool
    ) -> ConnectFailure {
        let state: SQLState
        var detail: String?
        let hint: String
        switch reason {
        case .noPassword:
            state = .invalidPassword
            detail =
                "PostgreSQL asks for a password of role \"\(pool.user)\", and the broker has none."
            switch configured.userList?.secret(for: pool.user) {
            case .plain?: detail! += " Its password in auth_file is empty."
            case .scram?:
                detail! +=
                    " Its SCRAM secret in auth_file serves once a client has logged in with it, and where the server asks for SCRAM."
            case .md5?:
                detail! += " Its MD5 hash in auth_file serves where the server asks for MD5."
            case nil: break
            }
            hint = passwordAdvice(state, pool) ?? ""
        case .authenticationMethod:
            state = .invalidAuthorization
            hint =
                "Choose another method for this role in the server's pg_hba.conf, or correct the database's line in [databases]."
        case .serverNotProven:
            state = .invalidAuthorization
            hint =
                "The server did not show that it is the right one: check host and port in [databases], and who answers there."
        case .encryption:
            state = .connectionNotEstablished
            hint =
                failure.hint
                ?? "Correct server_tls_* or sslmode, sslrootcert, sslcert, sslkey of the database's line in [databases], or the server's certificate, then RELOAD."
        case .parameters: return Self.badParameters(failure.message)
        }
        return ConnectFailure(
            kind: .permanent,
            error: PgError(sqlState: state, message: failure.message, detail: detail, hint: hint))
    }

    /// Where a password for the server can be set; nil: it is not about one.
    private func passwordAdvice(_ state: SQLState, _ pool: DatabasePool) -> String? {
        guard state == .invalidPassword else { return nil }
        return
            "Set password= in the line of \"\(pool.entry.name)\" in [databases] (or in DATABASE_URL or the file that DATABASE_URL_FILE names), or the plain password of \"\(pool.user)\" in auth_file, or a passfile=; then RELOAD."
    }

    static func badParameters(_ message: String) -> ConnectFailure {
        ConnectFailure(
            kind: .permanent,
            error: .error(
                .connectionNotEstablished, message,
                hint: "Check this database's line in [databases]."))
    }

    /// The server took too long to let us in.
    func connectTimedOut(_ server: ServerConnection) {
        let seconds = settings.serverConnectTimeout.map(Self.seconds) ?? ""
        if let route = server.route, let host = route.walk?.current {
            route.place.roster.failed(host, .silent, now: now)
        }
        giveUp(
            server,
            ConnectFailure(
                kind: .transient,
                error: .error(
                    .connectionNotEstablished, "the server did not answer within \(seconds)",
                    hint: "server_connect_timeout is the limit; is the server's host up?")))
    }

    /// A server that was full may be so still, though it let one in in another's place.
    func noteRecovery(of pool: DatabasePool, from failure: ConnectFailure) {
        if failure.kind == .saturated, engine.scheduler.summary(of: pool.id)?.isFenced == true {
            return
        }
        note(.connectRecovered, .notice, "PostgreSQL can be reached again", pool: pool)
        logger.notice(
            "server reachable again",
            metadata: ["database": "\(pool.database)", "user": "\(pool.user)"])
    }
}

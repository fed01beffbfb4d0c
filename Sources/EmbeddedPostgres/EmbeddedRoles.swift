// SPDX-License-Identifier: Apache-2.0

import PostgresProbe
import PostgresWire

/// The roles of the private PostgreSQL: each user who starts the broker is a superuser of it and
/// has a database, so that `psql` without arguments works for them.
enum EmbeddedRoles {
    /// Why a role could not be made.
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    static func make(
        _ names: [String], superuser: String, socketPath: String
    ) throws(Failure) {
        do {
            var connection = try ProbeConnection(
                to: .unix(path: socketPath), deadline: .now + .seconds(30))
            try connection.logIn(
                user: superuser, database: "postgres", applicationName: "pglease set-up")
            for name in names {
                try make(name, &connection)
            }
            connection.logOut()
        } catch {
            throw Failure(description: text(of: error))
        }
    }

    private static func make(
        _ name: String, _ connection: inout ProbeConnection
    ) throws(ProbeError) {
        let identifier = quotedIdentifier(name)
        let literal = quotedLiteral(name)
        if try connection.query("SELECT 1 FROM pg_roles WHERE rolname = \(literal)").isEmpty {
            _ = try connection.query("CREATE ROLE \(identifier) SUPERUSER LOGIN")
        }
        if try connection.query("SELECT 1 FROM pg_database WHERE datname = \(literal)").isEmpty {
            _ = try connection.query("CREATE DATABASE \(identifier) OWNER \(identifier)")
        }
    }

    private static func text(of error: ProbeError) -> String {
        switch error {
        case .noAnswer(let reason): "no answer: \(reason)"
        case .refused(let error): "\(error.sqlState.rawValue): \(error.message)"
        case .passwordRequested: "it asks for a password"
        case .notPostgres(let reason): "not PostgreSQL's protocol: \(reason)"
        case .notBroker(let reason): reason
        }
    }
}

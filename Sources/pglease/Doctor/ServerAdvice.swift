// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// What to do about a connection to PostgreSQL that failed.
enum ServerAdvice {
    /// libpq's reason, without the address that it repeats.
    static func text(_ failure: ConnectionFailure) -> String {
        let text = failure.message
        let reason =
            text.hasPrefix("connection to server")
            ? text.firstRange(of: " failed: ").map { String(text[$0.upperBound...]) } ?? text : text
        return failure.sqlState.map { "\(reason) (\($0))" } ?? reason
    }

    static func remedy(_ failure: ConnectionFailure) -> String {
        switch failure.sqlState {
        case "28P01": "correct the password: password= in its line, password_file, or auth_file"
        case "28000" where failure.message.contains("pg_hba.conf"):
            "add a line for this host, role and database to pg_hba.conf of PostgreSQL"
        case "28000" where failure.message.contains("Peer") || failure.message.contains("Ident"):
            "pg_ident.conf of PostgreSQL, or a password: the broker's user is not that role"
        case "28000": "see PostgreSQL's log; the role may be missing, or not let in from here"
        case "3D000": "correct dbname in the line, or create the database"
        case "53300":
            "max_connections or a CONNECTION LIMIT is used up: see who has connections there"
        case "57P03": "PostgreSQL starts, stops or recovers: wait, and look at its log"
        case .some: "see PostgreSQL's log"
        case nil: unreached(failure.raw)
        }
    }

    private static func unreached(_ raw: String) -> String {
        if raw.contains("SSL") || raw.contains("certificate") {
            return
                "server_tls_sslmode, server_tls_ca_file and the server's ssl and certificate have to fit"
        }
        if raw.contains("Permission denied") {
            return "let the broker's user into the folder of PostgreSQL's socket"
        }
        if raw.contains("Connection refused") || raw.contains("No such file") {
            return "start PostgreSQL there, or correct host and port in the line"
        }
        return "see whether PostgreSQL runs there, and what firewalls lie between"
    }
}

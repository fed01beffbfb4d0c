// SPDX-License-Identifier: Apache-2.0

import LibPQ
import PostgresFixture

/// A private PostgreSQL with TLS and three kinds of user: `tester` (superuser, trusted), `secret`
/// (password `right`, SCRAM) and `reader` (read-only sessions).
struct TemporaryPostgres: Sendable {
    let folder: String
    let port: String

    static let shared = Result { try TemporaryPostgres() }

    init() throws {
        let server = try PostgresServer(
            settings: { folder in
                """
                ssl = on
                ssl_cert_file = '\(folder)/server.crt'
                ssl_key_file = '\(folder)/server.key'
                """
            },
            rules: "host all secret 127.0.0.1/32 scram-sha-256",
            prepare: """
                openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
                    -addext subjectAltName=DNS:localhost -keyout server.key -out server.crt
                chmod 600 server.key
                """)
        try server.sql(
            "postgres",
            """
            CREATE ROLE secret LOGIN PASSWORD 'right';
            CREATE ROLE reader LOGIN;
            ALTER ROLE reader SET default_transaction_read_only = on
            """)
        folder = server.folder
        port = String(server.port)
    }

    /// What a connection over TCP takes.
    func parameters(_ more: ConnectionParameters = []) -> ConnectionParameters {
        [
            ("host", "localhost"), ("hostaddr", "127.0.0.1"), ("port", port), ("user", "tester"),
            ("dbname", "postgres"), ("sslmode", "disable"), ("passfile", "/nonexistent"),
        ] + more
    }
}

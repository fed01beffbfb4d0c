// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A private PostgreSQL in a folder of its own, on a Unix socket there and on 127.0.0.1. Superuser
/// `tester`, trusted unless `rules` say otherwise.
///
/// It outlives the test process by two seconds at most: a watchdog stops it and removes the folder,
/// however the process ended.
package struct PostgresServer: Sendable {
    package let folder: String
    package let port: Int
    private let asUser: String

    /// `settings` are lines of postgresql.conf and may name the folder, which `prepare`, a script,
    /// finds empty; `rules` are lines of pg_hba.conf that come first.
    package init(
        settings: (_ folder: String) -> String = { _ in "" }, rules: String = "",
        prepare: String = ""
    ) throws {
        folder = try Fixture.folder()
        port = try Fixture.freePort()
        // PostgreSQL refuses to run as root.
        asUser = geteuid() == 0 ? "runuser -u postgres -- " : ""
        let initdb = "\(asUser)\(Fixture.postgresPrograms)/initdb"
        try Fixture.shell(
            """
            set -e
            cd \(folder)
            \(prepare)
            if [ "$(id -u)" = 0 ]; then chown -R postgres \(folder); fi
            chmod 755 \(folder)
            \(initdb) -D data -U tester -A trust -N -E UTF8 --locale=C
            cat >> data/postgresql.conf <<'PGLEASE_END'
            listen_addresses = '127.0.0.1'
            port = \(port)
            unix_socket_directories = '\(folder)'
            max_connections = 200
            fsync = off
            \(settings(folder))
            PGLEASE_END
            cat - data/pg_hba.conf > rules <<'PGLEASE_END'
            \(rules)
            PGLEASE_END
            cat rules > data/pg_hba.conf
            """)
        try start()
        try Fixture.atTheEnd("\(control("-m immediate stop")); rm -rf \(folder)")
    }

    package func start() throws { try run("-w start") }

    /// `fast` or `immediate`.
    package func stop(_ mode: String = "fast") throws { try run("-m \(mode) -w stop") }

    private func control(_ order: String) -> String {
        "\(asUser)\(Fixture.postgresPrograms)/pg_ctl -D \(folder)/data -l \(folder)/log \(order)"
    }

    private func run(_ order: String) throws {
        try Fixture.shell(
            """
            cd \(folder)
            \(control(order)) || { cat \(folder)/log; exit 1; }
            """)
    }

    package var address: String { "host=\(folder) port=\(port) dbname=postgres user=tester" }

    /// The answer of statements by psql, one row a line, values with `|` in between.
    @discardableResult
    package func sql(_ database: String, _ statements: String) throws -> String {
        try PostgresServer.psql("-h \(folder) -p \(port) -d \(database)", statements)
    }

    package static func psql(_ address: String, _ statements: String) throws -> String {
        let text = try Fixture.shell(
            """
            \(Fixture.postgresPrograms)/psql -X -q -A -t -v ON_ERROR_STOP=1 \
                -U tester \(address) <<'PGLEASE_END'
            \(statements)
            PGLEASE_END
            """)
        return text.hasSuffix("\n") ? String(text.dropLast()) : text
    }
}

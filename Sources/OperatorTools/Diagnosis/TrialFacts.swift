// SPDX-License-Identifier: Apache-2.0

/// What one PostgreSQL says of itself to a role that has logged in.
package struct TrialFacts: Equatable, Sendable {
    /// The query whose one row is read.
    package static let question = """
        select current_setting('server_version'), pg_is_in_recovery(),
            current_setting('max_connections'), current_setting('superuser_reserved_connections'),
            coalesce(current_setting('reserved_connections', true), '0'),
            r.rolconnlimit, d.datconnlimit, r.rolsuper,
            coalesce((select s.ssl from pg_stat_ssl s where s.pid = pg_backend_pid()), false),
            (extract(epoch from clock_timestamp()) * 1000000)::bigint,
            (extract(epoch from pg_postmaster_start_time()) * 1000000)::bigint,
            current_setting('port'), current_database(), session_user
        from pg_catalog.pg_roles r, pg_catalog.pg_database d
        where r.rolname = session_user and d.datname = current_database()
        """

    package let version: String
    package let isInRecovery: Bool
    package let maxConnections: Int
    /// Kept for superusers and for pg_use_reserved_connections.
    package let reserved: Int
    /// CONNECTION LIMIT of the role and of the database; nil is none.
    package let roleLimit: Int?
    package let databaseLimit: Int?
    package let isSuperuser: Bool
    package let usesTLS: Bool
    /// Its clock, in microseconds since 1970.
    package let time: Int64
    /// Tells servers apart, by whatever names they are reached.
    package let identity: String
    package let database: String
    package let role: String

    /// nil: not an answer to `question`.
    package init?(row: [String?]) {
        guard row.count == 14, let version = row[0], let max = row[2].flatMap({ Int($0) }),
            let superuser = row[3].flatMap({ Int($0) }), let others = row[4].flatMap({ Int($0) }),
            let role = row[5].flatMap({ Int($0) }), let database = row[6].flatMap({ Int($0) }),
            let time = row[9].flatMap({ Int64($0) }), let started = row[10], let port = row[11],
            let name = row[12], let user = row[13]
        else { return nil }
        self.version = version
        isInRecovery = row[1] == "t"
        maxConnections = max
        reserved = superuser + others
        roleLimit = role >= 0 ? role : nil
        databaseLimit = database >= 0 ? database : nil
        isSuperuser = row[7] == "t"
        usesTLS = row[8] == "t"
        self.time = time
        identity = "\(started):\(port)"
        self.database = name
        self.role = user
    }

    /// How many connections a role that is no superuser finds.
    package var room: Int { max(0, maxConnections - reserved) }
}

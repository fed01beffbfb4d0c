// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The schema of shared bounds: what `pglease share init` runs, or a DBA instead.
package enum ShareSchema {
    /// `share.sql`, to be run by a superuser, or a role that may create schemas and has pg_read_all_stats: from that
    /// the functions know when a connection began.
    package static var script: String {
        String(decoding: PackageResources.share_sql, as: UTF8.self)
    }

    /// What a role needs that asks for a share, and to read the tables.
    package static func grants(to role: String) -> String {
        let role = quotedIdentifier(role)
        return """
            grant usage on schema pglease to \(role);
            grant select on pglease.bound, pglease.state, pglease.share to \(role);
            grant execute on function pglease.ask(text, uuid, text, integer, bigint, uuid, bigint, bigint, integer, integer, integer[]) to \(role);
            grant execute on function pglease.leave(text, uuid, integer[]) to \(role);

            """
    }
}

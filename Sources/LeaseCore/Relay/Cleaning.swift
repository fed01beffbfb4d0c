// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What makes a connection as new for its next lease.
///
/// Each text is a Query of its own, and all go out in one write: DISCARD ALL runs in no transaction block. The
/// broker's own conditions are in force first, so that no setting of an earlier client ends the cleaning.
package struct Cleaning: Equatable, Sendable {
    /// The texts in their order; empty where nothing cleans.
    package let texts: [String]
    /// Which text asks whether the extension dblink is there: its tag is SELECT 1 then.
    package let probe: Int?
    /// Which text ends the connections of dblink.
    package let links: Int?
    /// Which text is `connect_query`.
    package let connect: Int?
    /// Settings are at the server's defaults afterwards.
    package let isComplete: Bool

    private static let conditions =
        "SET statement_timeout TO 0;RESET SESSION AUTHORIZATION;RESET ALL;SET statement_timeout TO 0"

    /// `resetQuery` is `server_reset_query`. `seed`, between -1 and 1, is one that nobody can foresee: the
    /// random numbers of the next client are its own. With `dropsLinks` the database is known to have dblink.
    package init(resetQuery: String?, connectQuery: String?, seed: Double, dropsLinks: Bool) {
        let resetQuery = resetQuery.flatMap { $0.isEmpty ? nil : $0 }
        let connectQuery = connectQuery.flatMap { $0.isEmpty ? nil : $0 }
        var texts: [String] = []
        var probe: Int?
        var links: Int?
        if let resetQuery {
            let isDefault = Self.isDiscardAll(resetQuery)
            texts.append(
                isDefault
                    ? Self.conditions
                        // What an operator's own query leaves to be done is what the next profile relies on.
                    : "SET statement_timeout TO 0;\(ProfileSetup.resetOfIdentity);RESET ALL")
            texts.append(resetQuery)
            // DISCARD ALL leaves them alone; an operator's own query that names a role means it.
            let namesRole = resetQuery.lowercased().contains("role")
            var rest = namesRole ? "" : "RESET ROLE;"
            rest += "SET seed TO \(Self.literal(seed))"
            if dropsLinks {
                links = texts.count
                texts.append(Self.dropLinks)
                texts.append(rest)
            } else {
                probe = texts.count
                texts.append("\(rest);\(Self.askForLinks)")
            }
        } else if connectQuery != nil {
            texts.append(ProfileSetup.resetOfIdentity)
        }
        connect = connectQuery == nil ? nil : texts.count
        if let connectQuery { texts.append(connectQuery) }
        self.texts = texts
        self.probe = probe
        self.links = links
        isComplete = resetQuery != nil
    }

    private static func isDiscardAll(_ query: String) -> Bool {
        query.lowercased().split { $0 == " " || $0 == ";" || $0 == "\n" || $0 == "\t" }
            == ["discard", "all"]
    }

    /// Fixed point, which every version of the server reads.
    private static func literal(_ seed: Double) -> String {
        let scaled = Int64(max(-1, min(1, seed)) * 1_000_000_000_000_000)
        let digits = String(scaled.magnitude)
        let fraction = String(repeating: "0", count: max(0, 15 - digits.utf8.count)) + digits
        let isOne = digits.utf8.count > 15
        return "\(scaled < 0 ? "-" : "")\(isOne ? "1.0" : "0." + fraction)"
    }

    private static let askForLinks =
        "SELECT 1 FROM pg_catalog.pg_extension"
        + " WHERE extname OPERATOR(pg_catalog.=) 'dblink'::pg_catalog.name"

    /// Named connections of dblink outlive DISCARD ALL. The second statement finds its functions by the path
    /// that the first one sets, for this transaction.
    private static let dropLinks =
        "SELECT pg_catalog.set_config('search_path',"
        + " extnamespace::pg_catalog.regnamespace::pg_catalog.text, true)"
        + " FROM pg_catalog.pg_extension"
        + " WHERE extname OPERATOR(pg_catalog.=) 'dblink'::pg_catalog.name;"
        + "SELECT pg_catalog.count(dblink_disconnect(name))"
        + " FROM pg_catalog.unnest(dblink_get_connections()) AS name"
}

// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The table of a shared bound is in one database.
extension ConfigurationLoader {
    mutating func checkSharedBounds() {
        for entry in configuration.databases {
            guard let bound = configuration.sharedBound(of: entry) else { continue }
            let origin = databaseOrigins[entry.name] ?? .defaults
            if bound.database == "*" {
                errors.append(
                    ConfigurationIssue(
                        origin, "databases.*.shared_bound",
                        "the line stands for many databases, and the table is in one",
                        advice: "shared_bound_dbname = NAME says in which"))
            } else if configuration.database(named: bound.database) == nil,
                !sources.databasesComeLater
            {
                errors.append(
                    ConfigurationIssue(
                        origin, "databases.\(entry.name).shared_bound_dbname",
                        "\(quoted(bound.database)) is not in [databases], and there is no *"))
            }
        }
    }
}

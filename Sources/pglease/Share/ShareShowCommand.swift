// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LibPQ

/// `pglease share show`: the tables, as an operator reads them.
struct ShareShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show",
        abstract: "Show the bounds, and which host has which share.",
        discussion:
            "silent_s: for how long a host has not asked. After six periods its share shrinks to the "
            + "connections that it still has."
    )

    @OptionGroup var database: ShareDatabaseOptions

    @Argument(help: "Only this bound.")
    var name: String?

    func run() throws {
        let connection = try database.connect()
        defer { connection.close() }
        let bounds = try database.run(
            connection,
            """
            select b.bound, b.total, b.spare, coalesce(s.taken, 0), coalesce(s.hosts, 0),
                coalesce(s.period, 5000) / 1000.0
            from pglease.bound b left join pglease.state s on s.bound = b.bound
            where $1 = '' or b.bound = $1 order by b.bound
            """, [name ?? ""])
        if bounds.isEmpty {
            Output.error(
                name.map { "pglease share: there is no bound \"\($0)\"" } ?? "no bound is set")
            throw ExitCode(1)
        }
        for bound in bounds {
            Output.line(
                "\(bound[0]): \(bound[3]) of \(bound[1]) connections given to \(bound[4]) hosts, "
                    + "\(bound[2]) to ask with; each asks every \(Self.seconds(bound[5])) s")
            let rows = try database.run(
                connection,
                """
                select host, share, used, want, weight, role,
                    round(extract(epoch from clock_timestamp() - asked))::bigint, holder
                from pglease.share where bound = $1 order by host, holder
                """, [bound[0]])
            show(rows)
        }
        let askers = try database.run(
            connection,
            """
            select r.rolname, r.rolconnlimit
            from pg_catalog.pg_proc p, pg_catalog.aclexplode(p.proacl) a, pg_catalog.pg_roles r
            where p.pronamespace = 'pglease'::regnamespace and p.proname = 'ask'
                and a.privilege_type = 'EXECUTE' and a.grantee = r.oid and r.oid <> p.proowner
            order by 1
            """)
        Output.line(
            askers.isEmpty
                ? "no role but the owner may ask: pglease share init --role NAME"
                : "may ask: \(askers.map(Self.asker).joined(separator: ", "))")
    }

    private static func asker(_ row: [String]) -> String {
        row[1] == "-1" ? row[0] : "\(row[0]) (CONNECTION LIMIT \(row[1]))"
    }

    private func show(_ rows: [[String]]) {
        let titles = ["host", "share", "used", "want", "weight", "role", "silent_s", "holder"]
        let table = [titles] + rows
        let widths = titles.indices.map { column in table.map { $0[column].count }.max() ?? 0 }
        for row in table {
            let cells = zip(row, widths).enumerated().map { index, cell in
                let space = String(repeating: " ", count: cell.1 - cell.0.count)
                return (1...4).contains(index) || index == 6 ? space + cell.0 : cell.0 + space
            }
            Output.line("  " + cells.joined(separator: "  "))
        }
    }

    private static func seconds(_ text: String) -> String {
        Double(text).map { ($0 * 10).rounded() / 10 }.map { "\($0)" } ?? text
    }
}

// SPDX-License-Identifier: Apache-2.0

extension ConsoleTable {
    /// An object for each row, named by the columns.
    package var json: JSONValue { .array(records.map(json)) }

    package func json(_ record: ConsoleRecord) -> JSONValue {
        .object(
            zip(columns, record.values).map { column, value in
                guard let value else { return .init(column.name, .null) }
                return .init(column.name, column.isNumber ? .number(value) : .text(value))
            })
    }
}

extension BrokerReading {
    /// What `pglease stat --json` prints.
    package var json: JSONValue {
        let seconds = takenAt / 1_000_000
        let fraction = String(1_000_000 + takenAt % 1_000_000).dropFirst()
        var members: [JSONValue.Member] = [
            .init("version", .text(version)), .init("time", .number("\(seconds).\(fraction)")),
            .init(
                "state",
                .object(
                    records(.state).map { row in
                        .init(row.text("key") ?? "", row.text("value").map { .text($0) } ?? .null)
                    })),
        ]
        for question: Question in [.pools, .groups, .shares, .leases, .waiters, .locks, .stats] {
            members.append(.init(question.rawValue, tables[question]?.json ?? .array([])))
        }
        return .object(members)
    }
}

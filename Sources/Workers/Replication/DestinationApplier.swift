// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// Applies batches of source transactions to one destination: a lease and a transaction for each
/// batch, which also says how far it is.
final class DestinationApplier {
    /// What the stream has told so far. A copy goes along with each attempt, so that one that fails
    /// leaves it as it was.
    private struct Knowledge {
        var relations: [UInt32: PgoutputMessage.Relation] = [:]
        /// Of the tables that this destination wants, as soon as a row of theirs came.
        var statements: [UInt32: RowStatement] = [:]
    }

    /// A number of statements that goes out in one flight.
    private static let flight = 64

    let destination: PipelineDefinition.Destination
    private let client: LeaseClient
    private let progress: ApplyProgress
    private let tables: [TableName: PipelineDefinition.Table]
    private var knowledge = Knowledge()
    /// All before it is in the destination.
    private(set) var applied = LogSequenceNumber.zero

    init(
        _ destination: PipelineDefinition.Destination, _ client: LeaseClient,
        _ progress: ApplyProgress
    ) {
        self.destination = destination
        self.client = client
        self.progress = progress
        tables = Dictionary(destination.tables.map { ($0.source, $0) }) { first, _ in first }
    }

    /// Makes the progress table and reads how far the destination is.
    func prepare(_ stop: StopSignal) throws {
        applied = try client.withLease(for: "pipeline.prepare") { connection in
            return try stop.reacting(with: .cancel(connection.canceller)) {
                try progress.prepare(connection)
                return try progress.read(connection)
            }
        }
    }

    enum Outcome {
        /// How many rows each table (by the id of its sync) got.
        case applied([Int: Int])
        /// Nothing was applied: these rows must be fetched before.
        case incomplete([MissingRow])
    }

    /// Applies the batch, with what has been fetched for it.
    ///
    /// Throws with nothing applied, or, when the connection was lost in the COMMIT, with all of it:
    /// the next attempt finds out.
    func apply(
        _ batch: TransactionBatch, _ fetched: FetchedRows, _ stop: StopSignal
    ) throws -> Outcome {
        do {
            let (counts, learnt) = try client.withLease(for: "pipeline.apply") { connection in
                try stop.reacting(with: .cancel(connection.canceller)) {
                    try connection.withTransaction {
                        try apply(batch, fetched, $0, stop)
                    }
                }
            }
            knowledge = learnt
            applied = max(applied, batch.end)
            return .applied(counts)
        } catch let incomplete as Incomplete {
            return .incomplete(incomplete.rows)
        }
    }

    private func apply(
        _ batch: TransactionBatch, _ fetched: FetchedRows, _ transaction: LeaseConnection,
        _ stop: StopSignal
    ) throws -> (counts: [Int: Int], learnt: Knowledge) {
        let start = try progress.lock(transaction)
        var attempt = Attempt(self, transaction, from: start, knowledge, fetched)
        try batch.spool.readAll { payload in
            try stop.check()
            try attempt.take(PgoutputDecoder.decode(payload))
        }
        try attempt.finish()
        if batch.end > start {
            try transaction.execute(progress.advance(to: batch.end))
        }
        return (attempt.counts, attempt.knowledge)
    }

    /// Rolls the transaction back.
    private struct Incomplete: Error {
        let rows: [MissingRow]
    }

    /// One transaction at the destination.
    private struct Attempt {
        private let applier: DestinationApplier
        private let transaction: LeaseConnection
        private let start: LogSequenceNumber
        private var planner: ChangePlanner
        private var locked: Set<TableName> = []
        private var isSkipping = false
        private(set) var knowledge: Knowledge
        private(set) var counts: [Int: Int] = [:]
        private var missing: [MissingRow] = []

        init(
            _ applier: DestinationApplier, _ transaction: LeaseConnection,
            from start: LogSequenceNumber, _ knowledge: Knowledge, _ fetched: FetchedRows
        ) {
            planner = ChangePlanner(fetched: fetched)
            self.applier = applier
            self.transaction = transaction
            self.start = start
            self.knowledge = knowledge
        }

        mutating func take(_ message: PgoutputMessage) throws {
            switch message {
            // Its commit record begins there: behind what has been applied, or before.
            case .begin(let begin): isSkipping = begin.finalPosition < start
            case .relation(let relation):
                knowledge.relations[relation.id] = relation
                knowledge.statements[relation.id] = nil
            case .insert(let id, let new):
                if let statement = try statement(id) { try planner.insert(new, statement) }
            case .update(let id, let old, let new):
                if let statement = try statement(id) {
                    try planner.update(old: old, new: new, statement)
                }
            case .delete(let id, let old):
                if let statement = try statement(id) { try planner.delete(old: old, statement) }
            case .truncate(let truncate): try take(truncate)
            case .commit, .origin, .type, .message: break
            }
            if planner.statements.count >= DestinationApplier.flight { try send() }
        }

        mutating func finish() throws {
            planner.flush()
            try send()
            if !missing.isEmpty { throw Incomplete(rows: missing) }
        }

        private mutating func take(_ truncate: PgoutputMessage.Truncate) throws {
            var targets: [TableName] = []
            for id in truncate.relations {
                if let statement = try statement(id) { targets.append(statement.mapping.target) }
            }
            planner.truncate(targets, restartsIdentity: truncate.restartsIdentity)
        }

        /// Nil for a table that the destination does not want, and for what it has already.
        private mutating func statement(_ id: UInt32) throws -> RowStatement? {
            if isSkipping { return nil }
            guard let relation = knowledge.relations[id] else {
                throw ReplicationProtocolError(
                    message: "change", problem: "its table \(id) was never described")
            }
            let name = TableName(schema: relation.schema, name: relation.name)
            guard let table = applier.tables[name] else { return nil }
            if locked.insert(table.target).inserted {
                planner.add(
                    MergeLock.shared(schema: table.target.schema, table: table.target.name),
                    target: table.target)
            }
            if let known = knowledge.statements[id] { return known }
            // The catalog is asked over the same connection: what was planned goes first.
            try send()
            let found: TableShape
            do {
                found = try TableShape.read(table.target, transaction)
            } catch is MissingTable {
                throw SchemaMismatch(
                    source: name.description,
                    problem: "\(table.target) does not exist in destination "
                        + "\"\(applier.destination.name)\": create it")
            }
            let mapping = try TableMapping(relation, into: found)
            let filter = try table.rowFilter(on: mapping)
            let made = RowStatement(mapping, filter: filter)
            knowledge.statements[id] = made
            return made
        }

        // MARK: Sending

        private mutating func send() throws {
            var flight: [PlannedStatement] = []
            for planned in planner.takeStatements() {
                if planned.otherwise == nil, planned.andThen == nil {
                    flight.append(planned)
                    continue
                }
                try run(flight)
                flight = []
                var changed = try run(planned.sql, planned.target)
                if changed > 0 {
                    if let next = planned.andThen { try run(next, planned.target) }
                } else if let otherwise = planned.otherwise {
                    changed = try run(otherwise, planned.target)
                }
                try take(changed, planned)
            }
            try run(flight)
        }

        private mutating func run(_ flight: [PlannedStatement]) throws {
            if flight.isEmpty { return }
            let answers = try transaction.pipeline(flight.map(\.sql))
            for (planned, answer) in zip(flight, answers) {
                switch answer {
                case .success(let rows): try take(rows.affectedRows, planned)
                case .failure(let error): throw Self.failure(error, planned.target)
                }
            }
        }

        @discardableResult
        private func run(_ sql: SQL, _ target: TableName) throws -> Int {
            do {
                return try transaction.execute(sql)
            } catch let error as LeaseError {
                throw Self.failure(error, target)
            }
        }

        /// What a statement has changed: it is counted, or its row is missing.
        private mutating func take(_ changed: Int, _ planned: PlannedStatement) throws {
            guard let source = planned.source, let table = applier.tables[source] else { return }
            let rows = planned.isFiltered ? changed : planned.rows
            if rows > 0 { counts[table.id, default: 0] += rows }
            guard changed == 0, let row = planned.missing else { return }
            if let isWanted = row.isWanted, try run(isWanted, planned.target) == 0 { return }
            missing.append(row)
            if missing.count >= RowFetcher.rowLimit { throw Incomplete(rows: missing) }
        }

        /// The table's name belongs into the message: the server does not always say it.
        private static func failure(_ error: LeaseError, _ target: TableName) -> any Error {
            guard error.code == .sql else { return error }
            return PipelineFailure("\(target): \(error)", isPassing: error.isPassing)
        }
    }
}

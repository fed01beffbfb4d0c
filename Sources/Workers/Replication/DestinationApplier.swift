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
    private let tables: [QualifiedName: PipelineDefinition.Table]
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

    /// Applies the batch, and returns how many rows each table (by the id of its sync) got.
    ///
    /// Throws with nothing applied, or, when the connection was lost in the COMMIT, with all of it:
    /// the next attempt finds out.
    func apply(_ batch: TransactionBatch, _ stop: StopSignal) throws -> [Int: Int] {
        let (counts, learnt) = try client.withLease(for: "pipeline.apply") { connection in
            return try stop.reacting(with: .cancel(connection.canceller)) {
                try connection.withTransaction { transaction in
                    let start = try progress.lock(transaction)
                    var attempt = Attempt(self, transaction, from: start, knowledge)
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
            }
        }
        knowledge = learnt
        applied = max(applied, batch.end)
        return counts
    }

    /// One transaction at the destination.
    private struct Attempt {
        private let applier: DestinationApplier
        private let transaction: LeaseConnection
        private let start: LogSequenceNumber
        private var planner = ChangePlanner()
        private var locked: Set<QualifiedName> = []
        private var isSkipping = false
        private(set) var knowledge: Knowledge
        private(set) var counts: [Int: Int] = [:]

        init(
            _ applier: DestinationApplier, _ transaction: LeaseConnection,
            from start: LogSequenceNumber, _ knowledge: Knowledge
        ) {
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
        }

        private mutating func take(_ truncate: PgoutputMessage.Truncate) throws {
            var targets: [QualifiedName] = []
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
            let name = QualifiedName(schema: relation.schema, name: relation.name)
            guard let table = applier.tables[name] else { return nil }
            counts[table.id, default: 0] += 1
            if locked.insert(table.target).inserted {
                planner.add(
                    MergeLock.shared(schema: table.target.schema, table: table.target.name),
                    target: table.target)
            }
            if let known = knowledge.statements[id] { return known }
            // The catalog is asked over the same connection: what was planned goes first.
            try send()
            guard let found = try ReplicaTable.load(table.target, transaction) else {
                throw SchemaMismatch(
                    source: name.description,
                    problem: "\(table.target) does not exist in destination "
                        + "\"\(applier.destination.name)\": create it")
            }
            let made = RowStatement(try TableMapping(relation, into: found))
            knowledge.statements[id] = made
            return made
        }

        // MARK: Sending

        private mutating func send() throws {
            var flight: [PlannedStatement] = []
            for planned in planner.takeStatements() {
                if let otherwise = planned.otherwise {
                    try run(flight)
                    flight = []
                    let isThere = try run(planned.sql, planned.target) > 0
                    if !isThere {
                        try run(otherwise, planned.target)
                    } else if let next = planned.andThen {
                        try run(next, planned.target)
                    }
                } else {
                    flight.append(planned)
                }
            }
            try run(flight)
        }

        private func run(_ flight: [PlannedStatement]) throws {
            if flight.isEmpty { return }
            let answers = try transaction.pipeline(flight.map(\.sql))
            for (planned, answer) in zip(flight, answers) {
                if case .failure(let error) = answer {
                    throw Self.failure(error, planned.target)
                }
            }
        }

        @discardableResult
        private func run(_ sql: SQL, _ target: QualifiedName) throws -> Int {
            do {
                return try transaction.execute(sql)
            } catch let error as LeaseError {
                throw Self.failure(error, target)
            }
        }

        /// The table's name belongs into the message: the server does not always say it.
        private static func failure(_ error: LeaseError, _ target: QualifiedName) -> any Error {
            guard case .sql = error else { return error }
            return PipelineFailure("\(target): \(error)", isPassing: error.isPassing)
        }
    }
}

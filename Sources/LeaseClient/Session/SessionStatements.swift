import LibPQ

/// Statements, streams, COPY, pipelines and notifications.
extension Session {
    // MARK: Statements

    func run(
        _ statement: SQL, _ format: ResultFormat, _ interruption: Interruption
    ) throws -> Rows {
        try operation(interruption) {
            try connection.sendStatement(
                statement.text, statement.wireParameters, binaryResult: format == .binary)
            return Rows(try collect())
        }
    }

    func runScript(_ sql: String, _ interruption: Interruption) throws -> Rows {
        try operation(interruption) {
            try connection.sendScript(sql)
            return Rows(try collect())
        }
    }

    func prepare(_ sql: String, _ interruption: Interruption) throws -> String {
        try operation(interruption) {
            preparedStatements += 1
            let name = "lease_\(preparedStatements)"
            try connection.sendPrepare(name: name, sql)
            _ = try collect()
            return name
        }
    }

    func run(
        prepared name: String, _ parameters: [(any PostgresEncodable)?], _ format: ResultFormat,
        _ interruption: Interruption
    ) throws -> Rows {
        try operation(interruption) {
            try connection.sendPrepared(
                name: name, parameters.map { StatementParameter(text: $0) },
                binaryResult: format == .binary)
            return Rows(try collect())
        }
    }

    // MARK: Streams

    func startStream(
        _ statement: SQL, _ format: ResultFormat, _ interruption: Interruption
    ) throws -> Int {
        try operation(interruption) {
            try connection.sendStatement(
                statement.text, statement.wireParameters, binaryResult: format == .binary)
            _ = connection.setSingleRowMode()
            return beginStream(.rows)
        }
    }

    /// The stream's number, by which its reader finds out that another statement has ended it.
    private func beginStream(_ kind: Unfinished) -> Int {
        unfinished = kind
        streamDescription = nil
        streamError = nil
        streamNumber += 1
        return streamNumber
    }

    private func checkStream(_ number: Int) throws(LeaseError) {
        if unfinished == nil || number != streamNumber {
            throw .usage("another statement on this connection has ended the stream")
        }
    }

    /// The next rows, those that are there and at least one; none at the end.
    func nextRows(
        of stream: Int, limit: Int, _ interruption: Interruption
    ) throws -> [Row] {
        try operation(interruption, continuing: true) {
            if let error = streamError.take() { throw error }
            // The end came behind the last rows.
            if unfinished == nil, stream == streamNumber { return [] }
            try checkStream(stream)
            var rows: [Row] = []
            while rows.count < limit {
                if !rows.isEmpty, !connection.hasResultReady { break }
                guard let result = try nextResult() else {
                    unfinished = nil
                    break
                }
                do {
                    if let row = try row(of: result) { rows.append(row) }
                } catch {
                    // What came before it is told first.
                    if rows.isEmpty { throw error }
                    streamError = error
                    break
                }
            }
            return rows
        }
    }

    private func row(of result: ClientResult) throws -> Row? {
        switch result.status {
        case .singleRow:
            let shared = streamDescription ?? RowDescription(result)
            streamDescription = shared
            return Row(result: result, index: 0, description: shared)
        case .rows, .command, .empty: return nil
        case .error, .unexpected, .pipelineSync, .pipelineAborted: try endFailed(result)
        case .copyIn:
            unfinished = .copyIn
            try endUnfinished()
        case .copyOut, .copyBoth:
            unfinished = .copyOut
            try endUnfinished()
        }
        throw LeaseError.usage("COPY goes through copyIn or copyOut")
    }

    /// Reads the rest of a failed statement and throws its error.
    private func endFailed(_ result: ClientResult) throws {
        unfinished = nil
        while try nextResult() != nil {}
        throw result.error
    }

    // MARK: COPY

    func startCopyIn(_ sql: SQL, _ interruption: Interruption) throws {
        try operation(interruption) {
            try connection.sendStatement(sql.text, sql.wireParameters, binaryResult: false)
            try expect(.copyIn, "COPY … FROM STDIN")
            _ = beginStream(.copyIn)
        }
    }

    func startCopyOut(_ sql: SQL, _ interruption: Interruption) throws -> Int {
        try operation(interruption) {
            try connection.sendStatement(sql.text, sql.wireParameters, binaryResult: false)
            try expect(.copyOut, "COPY … TO STDOUT")
            return beginStream(.copyOut)
        }
    }

    private func expect(_ status: ClientResult.Status, _ wanted: String) throws {
        guard let result = try nextResult() else {
            throw ServerMessage(severity: "FATAL", sqlState: "", message: "no answer came")
        }
        if result.status == status { return }
        switch result.status {
        case .error, .unexpected: try endFailed(result)
        case .copyIn:
            unfinished = .copyIn
            try endUnfinished()
        case .copyOut, .copyBoth:
            unfinished = .copyOut
            try endUnfinished()
        default: while try nextResult() != nil {}
        }
        throw LeaseError.usage("the statement is no \(wanted)")
    }

    func putCopy(_ bytes: [UInt8], _ interruption: Interruption) throws {
        try operation(interruption, continuing: true) {
            guard case .copyIn? = unfinished else {
                throw LeaseError.usage("the COPY is over")
            }
            do {
                try connection.putCopyData(bytes, patience)
            } catch let failure as WaitFailure {
                stage = .cancelling(failure)
                try endCopyIn(failure: "the client gave the COPY up")
            }
        }
    }

    /// The number of rows. A reason makes the server fail it, and the error is thrown.
    func finishCopyIn(failure: String?, _ interruption: Interruption) throws -> Int {
        try operation(interruption, continuing: true) {
            guard case .copyIn? = unfinished else {
                throw LeaseError.usage("the COPY is over")
            }
            return try endCopyIn(failure: failure)
        }
    }

    @discardableResult
    private func endCopyIn(failure: String?) throws -> Int {
        unfinished = nil
        if case .cancelling = stage {
            patience = Patience(until: ContinuousClock.now.advanced(by: grace))
        }
        do {
            try connection.putCopyEnd(failure: failure, patience)
        } catch let wait as WaitFailure {
            try giveUp(wait)
            try connection.putCopyEnd(failure: failure ?? "the client gave it up", patience)
        }
        return try collect().affectedRows
    }

    /// The next bytes; nil at the end.
    func nextCopyChunk(
        of stream: Int, limit: Int, _ interruption: Interruption
    ) throws -> [UInt8]? {
        try operation(interruption, continuing: true) {
            // The end was told with the last bytes.
            if unfinished == nil, stream == streamNumber { return nil }
            try checkStream(stream)
            var chunk: [UInt8] = []
            while true {
                do {
                    if try connection.getCopyData(into: &chunk, limit: limit, patience) {
                        return chunk
                    }
                    break
                } catch let failure as WaitFailure {
                    try giveUp(failure)
                }
            }
            unfinished = nil
            _ = try collect()
            return chunk.isEmpty ? nil : chunk
        }
    }

    // MARK: Pipelines

    func pipeline(
        _ statements: [SQL], _ format: ResultFormat, _ interruption: Interruption
    ) throws -> [Result<Rows, LeaseError>] {
        if statements.isEmpty { return [] }
        return try operation(interruption) {
            try connection.enterPipeline()
            do {
                for statement in statements {
                    try connection.sendStatement(
                        statement.text, statement.wireParameters, binaryResult: format == .binary)
                }
                try connection.sendSync()
                let outcomes = try readPipeline(count: statements.count)
                try connection.exitPipeline()
                return outcomes
            } catch let error as ServerMessage {
                // In the middle of a pipeline nothing can be mended.
                let meaning = leaseError(error)
                if fault == nil {
                    fault = meaning
                    connection.destroy()
                }
                throw meaning
            }
        }
    }

    private func readPipeline(count: Int) throws -> [Result<Rows, LeaseError>] {
        var outcomes: [Result<Rows, LeaseError>] = []
        var failed: Int?
        var current: Result<Rows, LeaseError>?
        while true {
            guard let result = try nextResult() else {
                // The end of one statement, or of the connection.
                if let outcome = current { outcomes.append(outcome) }
                if current == nil, !connection.isOpen {
                    throw ServerMessage(
                        severity: "FATAL", sqlState: "", message: connection.failure.message)
                }
                current = nil
                continue
            }
            switch result.status {
            case .pipelineSync: return outcomes
            case .pipelineAborted:
                current = .failure(.pipelineAborted(by: failed ?? 0))
            case .error, .unexpected:
                let error = leaseError(result.error)
                if fault != nil { throw error }
                failed = failed ?? outcomes.count
                current = .failure(error)
            default: current = .success(Rows(result))
            }
        }
    }

    // MARK: Notifications

    /// The next notification; nil at the deadline.
    func waitForNotification(
        until deadline: ContinuousClock.Instant?, _ interruption: Interruption
    ) throws -> LeaseNotification? {
        try operation(interruption) {
            patience = Patience(until: deadline, interruption: interruption)
            while true {
                if let found = connection.takeNotification() {
                    return LeaseNotification(found)
                }
                do {
                    if try !connection.waitForInput(patience) {
                        throw ServerMessage(
                            severity: "FATAL", sqlState: "", message: connection.failure.message)
                    }
                    // An error that comes by itself, such as the server's farewell.
                    _ = connection.hasResultReady
                    if !connection.isOpen {
                        throw ServerMessage(
                            severity: "FATAL", sqlState: "", message: connection.failure.message)
                    }
                } catch WaitFailure.timedOut {
                    return nil
                } catch WaitFailure.interrupted {
                    throw LeaseError.cancelled
                }
            }
        }
    }
}

/// How values come back.
public enum ResultFormat: Sendable {
    /// Every type has it, and every ``PostgresDecodable`` reads it.
    case text
    /// Smaller and quicker for numbers and `bytea`; dates, numerics and arrays then have no reader
    /// here.
    case binary
}

/// What NOTIFY sent.
public struct LeaseNotification: Equatable, Sendable {
    public var channel: String
    public var payload: String
    /// The server process of the sender.
    public var processID: Int

    init(_ notification: ClientConnection.Notification) {
        channel = notification.channel
        payload = notification.payload
        processID = Int(notification.processID)
    }
}

extension SQL {
    var wireParameters: [StatementParameter] {
        parameters.map { StatementParameter($0) }
    }
}

extension StatementParameter {
    /// As text, a `bytea` as binary.
    init(_ value: (any PostgresEncodable)?) {
        let type = value?.postgresType ?? .unspecified
        guard let value, !value.isPostgresNull else {
            self.init(type: type.rawValue, isBinary: false, bytes: nil)
            return
        }
        if type == .bytea, let bytes = value.postgresBinary {
            self.init(type: type.rawValue, isBinary: true, bytes: bytes)
        } else {
            self.init(
                type: type.rawValue, isBinary: false,
                bytes: value.postgresText.map { Array($0.utf8) })
        }
    }

    /// For a prepared statement, whose types the server has inferred.
    init(text value: (any PostgresEncodable)?) {
        self.init(
            type: 0, isBinary: false, bytes: value?.postgresText.map { Array($0.utf8) })
    }
}

// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// Statements whose answer is kept in memory, and pipelines of them.
extension Session {
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
                let outcomes = try readPipeline()
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

    private func readPipeline() throws -> [Result<Rows, LeaseError>] {
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
}

/// How values come back.
public enum ResultFormat: Sendable {
    /// Every type has it, and every ``PostgresDecodable`` reads it.
    case text
    /// Smaller and quicker for numbers and `bytea`; dates, numerics and arrays then have no reader
    /// here.
    case binary
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

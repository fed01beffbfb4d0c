// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// Statements whose rows are read as they come.
extension Session {
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
    func beginStream(_ kind: Unfinished) -> Int {
        unfinished = kind
        streamDescription = nil
        streamError = nil
        streamNumber += 1
        return streamNumber
    }

    func checkStream(_ number: Int) throws(LeaseError) {
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
    func endFailed(_ result: ClientResult) throws {
        unfinished = nil
        while try nextResult() != nil {}
        throw result.error
    }
}

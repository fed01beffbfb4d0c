// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// COPY in both directions.
extension Session {
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
                // A server that does not read on (it waits for a lock) hears a cancel request only.
                try giveUp(failure)
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
        try connection.putCopyEnd(failure: failure, patience)
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
}

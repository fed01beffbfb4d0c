// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// Takes a COPY's data in the async form: bytes as they are, or rows. Keeps up to 64 KiB before it
/// sends, and waits when the server is slower. For one task, within `copyIn`'s closure.
public final class AsyncCopyWriter {
    private let host: SessionHost
    private let encoder: CopyEncoder
    private var buffer: [UInt8] = []
    private var hasRows = false

    init(_ host: SessionHost, _ format: CopyFormat) {
        self.host = host
        encoder = CopyEncoder(format: format)
    }

    /// Bytes of the COPY's own format; rows may be cut anywhere. Not to be mixed with `row` in the
    /// binary format, which writes the header itself.
    public nonisolated(nonsending) func write(_ bytes: some Collection<UInt8>) async throws {
        buffer.append(contentsOf: bytes)
        if buffer.count >= CopyWriter.bufferSize { try await flush() }
    }

    /// A row; nil is NULL.
    public nonisolated(nonsending) func row(_ values: [(any PostgresEncodable)?]) async throws {
        if !hasRows { buffer.append(contentsOf: encoder.header) }
        hasRows = true
        try encoder.append(values, to: &buffer)
        if buffer.count >= CopyWriter.bufferSize { try await flush() }
    }

    /// A row: `try await writer.row(1, "name", nil as Int?)`.
    public nonisolated(nonsending) func row<each Value: PostgresEncodable>(
        _ values: repeat each Value
    ) async throws {
        var row: [(any PostgresEncodable)?] = []
        for value in repeat each values { row.append(value) }
        try await self.row(row)
    }

    nonisolated(nonsending) func finish(asRows: Bool) async throws {
        if hasRows || asRows {
            if !hasRows { buffer.append(contentsOf: encoder.header) }
            buffer.append(contentsOf: encoder.trailer)
        }
        try await flush()
    }

    private nonisolated(nonsending) func flush() async throws {
        if buffer.isEmpty { return }
        let bytes = buffer
        buffer.removeAll(keepingCapacity: true)
        try await host.run { try $0.putCopy(bytes, $1) }
    }
}

/// The data of a COPY as it comes, in pieces of about 64 KiB, each of whole rows in the text and CSV
/// formats. Iterate it once.
public struct CopyStream: AsyncSequence, Sendable {
    public typealias Element = [UInt8]

    let host: SessionHost
    let number: Int

    public func makeAsyncIterator() -> Iterator { Iterator(host: host, number: number) }

    /// Throws ``LeaseError`` or, when the task is cancelled, `CancellationError`; then the statement is
    /// over, and the connection goes on.
    public struct Iterator: AsyncIteratorProtocol {
        let host: SessionHost
        let number: Int
        var isAtEnd = false

        /// Nil at the end.
        public mutating func next(
            isolation actor: isolated (any Actor)? = #isolation
        ) async throws -> [UInt8]? {
            if isAtEnd { return nil }
            let number = self.number
            let chunk = try await host.run(isolation: actor) {
                try $0.nextCopyChunk(of: number, limit: CopyWriter.bufferSize, $1)
            }
            isAtEnd = chunk == nil
            return chunk
        }
    }
}

extension AsyncLeaseConnection {
    /// `COPY … FROM STDIN`, with data as the statement's own format has it. When `body` throws or the
    /// task is cancelled, the COPY fails at the server, nothing of it stays, and the error is
    /// thrown. Returns the number of rows.
    @discardableResult
    public nonisolated(nonsending) func copyIn(
        _ statement: SQL,
        _ body: nonisolated(nonsending) (AsyncCopyWriter) async throws -> Void
    ) async throws -> Int {
        try await copyIn(statement, .text, asRows: false, body)
    }

    /// Copies rows into a table. `table` and `columns` are names, which are quoted; a schema goes
    /// into `schema`.
    @discardableResult
    public nonisolated(nonsending) func copyIn(
        into table: String, schema: String? = nil, columns: [String],
        format: CopyFormat = .text,
        _ body: nonisolated(nonsending) (AsyncCopyWriter) async throws -> Void
    ) async throws -> Int {
        try await copyIn(
            .copyIn(into: table, schema: schema, columns: columns, format: format), format,
            asRows: true, body)
    }

    private nonisolated(nonsending) func copyIn(
        _ statement: SQL, _ format: CopyFormat, asRows: Bool,
        _ body: nonisolated(nonsending) (AsyncCopyWriter) async throws -> Void
    ) async throws -> Int {
        try await host.run { try $0.startCopyIn(statement, $1) }
        do {
            let writer = AsyncCopyWriter(host, format)
            try await body(writer)
            try await writer.finish(asRows: asRows)
            return try await host.run { try $0.finishCopyIn(failure: nil, $1) }
        } catch {
            try? await host.runUncancelled { session, _ in try session.endUnfinished() }
            throw error
        }
    }

    /// `COPY … TO STDOUT`. A stream that is not read to its end is cancelled by the next statement
    /// or the end of the lease.
    public nonisolated(nonsending) func copyOut(_ statement: SQL) async throws -> CopyStream {
        let number = try await host.run { try $0.startCopyOut(statement, $1) }
        return CopyStream(host: host, number: number)
    }
}

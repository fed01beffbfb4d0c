// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// Takes a COPY's data: bytes as they are, or rows.
///
/// Keeps up to 64 KiB before it sends, and waits when the server is slower.
public struct CopyWriter: ~Copyable {
    static let bufferSize = 65536

    private let connection: LeaseConnection
    private let encoder: CopyEncoder
    private var buffer: [UInt8] = []

    init(_ connection: LeaseConnection, _ format: CopyFormat) {
        self.connection = connection
        encoder = CopyEncoder(format: format)
    }

    /// Bytes of the COPY's own format; rows may be cut anywhere. Not to be mixed with `row` in the
    /// binary format, which writes the header itself.
    public mutating func write(_ bytes: some Collection<UInt8>) throws {
        buffer.append(contentsOf: bytes)
        if buffer.count >= CopyWriter.bufferSize { try flush() }
    }

    /// A row; nil is NULL.
    public mutating func row(_ values: [(any PostgresEncodable)?]) throws {
        if !hasRows { buffer.append(contentsOf: encoder.header) }
        hasRows = true
        try encoder.append(values, to: &buffer)
        if buffer.count >= CopyWriter.bufferSize { try flush() }
    }

    /// A row: `try writer.row(1, "name", nil as Int?)`.
    public mutating func row<each Value: PostgresEncodable>(_ values: repeat each Value) throws {
        var row: [(any PostgresEncodable)?] = []
        for value in repeat each values { row.append(value) }
        try self.row(row)
    }

    private var hasRows = false

    mutating func flush() throws {
        if buffer.isEmpty { return }
        let (session, interruption) = try connection.use()
        try session.putCopy(buffer, interruption)
        buffer.removeAll(keepingCapacity: true)
    }

    mutating func finish(asRows: Bool) throws {
        if hasRows || asRows {
            if !hasRows { buffer.append(contentsOf: encoder.header) }
            buffer.append(contentsOf: encoder.trailer)
        }
        try flush()
    }
}

extension LeaseConnection {
    /// `COPY … FROM STDIN`, with data as the statement's own format has it. When `body` throws, the
    /// COPY fails at the server, nothing of it stays, and the error is thrown. Returns the number of
    /// rows.
    @discardableResult
    public func copyIn(
        _ statement: SQL, _ body: (inout CopyWriter) throws -> Void
    ) throws -> Int {
        try copyIn(statement, .text, asRows: false, body)
    }

    /// Copies rows into a table. `table` and `columns` are names, which are quoted; a schema goes
    /// into `schema`.
    @discardableResult
    public func copyIn(
        into table: String, schema: String? = nil, columns: [String],
        format: CopyFormat = .text, _ body: (inout CopyWriter) throws -> Void
    ) throws -> Int {
        try copyIn(
            .copyIn(into: table, schema: schema, columns: columns, format: format), format,
            asRows: true, body)
    }

    private func copyIn(
        _ statement: SQL, _ format: CopyFormat, asRows: Bool,
        _ body: (inout CopyWriter) throws -> Void
    ) throws -> Int {
        let (session, interruption) = try use()
        try session.startCopyIn(statement, interruption)
        do {
            var writer = CopyWriter(self, format)
            try body(&writer)
            try writer.finish(asRows: asRows)
        } catch {
            try? session.endUnfinished()
            throw error
        }
        return try session.finishCopyIn(failure: nil, use().1)
    }

    /// `COPY … TO STDOUT`: the data in pieces of about 64 KiB, each of whole rows in the text and
    /// CSV formats. An error thrown by `body` cancels the statement. Returns the number of bytes.
    @discardableResult
    public func copyOut(
        _ statement: SQL, _ body: ([UInt8]) throws -> Void
    ) throws -> Int {
        let (session, interruption) = try use()
        let stream = try session.startCopyOut(statement, interruption)
        var count = 0
        do {
            while true {
                let (session, interruption) = try use()
                guard
                    let chunk = try session.nextCopyChunk(
                        of: stream, limit: CopyWriter.bufferSize, interruption)
                else { return count }
                count += chunk.count
                try body(chunk)
            }
        } catch {
            try? session.endUnfinished()
            throw error
        }
    }
}

extension SQL {
    /// `COPY schema.table (columns) FROM STDIN`
    static func copyIn(
        into table: String, schema: String?, columns: [String], format: CopyFormat
    ) -> SQL {
        var statement: SQL =
            if let schema {
                "COPY \(identifier: schema).\(identifier: table)"
            } else {
                "COPY \(identifier: table)"
            }
        if !columns.isEmpty {
            let names = columns.map { name in
                let quoted: SQL = "\(identifier: name)"
                return quoted.text
            }
            statement.text += " (" + names.joined(separator: ", ") + ")"
        }
        statement.text += " FROM STDIN" + (format == .binary ? " (FORMAT binary)" : "")
        return statement
    }
}

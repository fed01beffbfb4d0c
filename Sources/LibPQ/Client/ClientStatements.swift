// SPDX-License-Identifier: Apache-2.0

import CLibPQ
import Glibc

/// A value that goes with a statement.
package struct StatementParameter: Equatable, Sendable {
    /// 0: the server finds out.
    package var type: UInt32
    package var isBinary: Bool
    /// Nil is NULL.
    package var bytes: [UInt8]?

    package init(type: UInt32, isBinary: Bool, bytes: [UInt8]?) {
        self.type = type
        self.isBinary = isBinary
        self.bytes = bytes
    }
}

/// Sending, and what comes back. A `send…` puts the message into libpq's buffer and tries to write
/// it; `nextResult` goes on writing while it reads, so that neither side waits for the other.
extension BlockingConnection {
    /// PQsendQuery: the simple protocol, several statements allowed.
    package func sendScript(_ sql: String) throws(ServerMessage) {
        try accepted(unsafe PQsendQuery(open, sql))
    }

    /// PQsendQueryParams: one statement with its values.
    package func sendStatement(
        _ sql: String, _ parameters: [StatementParameter], binaryResult: Bool
    ) throws(ServerMessage) {
        try accepted(
            unsafe parameters.withLibPQArrays { arrays in
                unsafe PQsendQueryParams(
                    open, sql, Int32(parameters.count), arrays.types, arrays.values,
                    arrays.lengths, arrays.formats, binaryResult ? 1 : 0)
            })
    }

    /// PQsendPrepare; the server infers the types.
    package func sendPrepare(name: String, _ sql: String) throws(ServerMessage) {
        try accepted(unsafe PQsendPrepare(open, name, sql, 0, nil))
    }

    /// PQsendQueryPrepared.
    package func sendPrepared(
        name: String, _ parameters: [StatementParameter], binaryResult: Bool
    ) throws(ServerMessage) {
        try accepted(
            unsafe parameters.withLibPQArrays { arrays in
                unsafe PQsendQueryPrepared(
                    open, name, Int32(parameters.count), arrays.values, arrays.lengths,
                    arrays.formats, binaryResult ? 1 : 0)
            })
    }

    /// PQsetSingleRowMode, right after a `send…`.
    package func setSingleRowMode() -> Bool { unsafe PQsetSingleRowMode(open) == 1 }

    /// PQenterPipelineMode.
    package func enterPipeline() throws(ServerMessage) {
        try accepted(unsafe PQenterPipelineMode(open))
    }

    /// PQpipelineSync.
    package func sendSync() throws(ServerMessage) { try accepted(unsafe PQpipelineSync(open)) }

    /// PQexitPipelineMode, when everything has been read.
    package func exitPipeline() throws(ServerMessage) {
        try accepted(unsafe PQexitPipelineMode(open))
    }

    /// PQgetResult once it would not block: nil at the end of a statement's results.
    ///
    /// After a `WaitFailure` the statement still runs: call again, or give the connection up. A loss
    /// of the connection is a result like any other, an error without SQLSTATE.
    package func nextResult(_ patience: Patience) throws(WaitFailure) -> ClientResult? {
        while unsafe PQisBusy(open) != 0 {
            let flushed = unsafe PQflush(open)
            try waitForSocket(alsoWriting: flushed == 1, patience)
            // On a failure PQgetResult has the error to tell, and PQisBusy lets it.
            if unsafe PQconsumeInput(open) == 0 { break }
        }
        guard let result = unsafe PQgetResult(open) else { return nil }
        return unsafe ClientResult(owning: result)
    }

    /// Whether a result, or the end of them, can be had without waiting.
    package var hasResultReady: Bool { unsafe PQisBusy(open) == 0 }

    /// Reads until a notification or anything else has come. False when the connection is lost.
    package func waitForInput(_ patience: Patience) throws(WaitFailure) -> Bool {
        try waitForSocket(alsoWriting: false, patience)
        return unsafe PQconsumeInput(open) == 1
    }

    // MARK: COPY

    /// PQputCopyData, then writes until libpq's buffer is empty: a slow server slows the caller.
    package func putCopyData(_ bytes: [UInt8], _ patience: Patience) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            // libpq counts in Int32, and makes room for the whole message.
            let part = rest.prefix(1 << 20)
            let sent = unsafe part.withUnsafeBytes { buffer in
                unsafe PQputCopyData(
                    open, buffer.baseAddress?.assumingMemoryBound(to: CChar.self),
                    Int32(buffer.count))
            }
            if sent < 0 { throw lost() }
            if sent == 1 { rest = rest.dropFirst(part.count) }
            try flush(patience)
        }
    }

    /// PQputCopyEnd; a reason makes the server fail the statement. `nextResult` writes it.
    package func putCopyEnd(failure reason: String?, _ patience: Patience) throws {
        while true {
            let sent = unsafe PQputCopyEnd(open, reason)
            if sent < 0 { throw lost() }
            if sent == 1 { return }
            try flush(patience)
        }
    }

    /// PQgetCopyData: appends one message, or several as long as they are there and `limit` bytes
    /// are not reached. False at the end, after which `nextResult` says how it went.
    package func getCopyData(
        into chunk: inout [UInt8], limit: Int, _ patience: Patience
    ) throws(WaitFailure) -> Bool {
        while true {
            var buffer: UnsafeMutablePointer<CChar>?
            let count = unsafe PQgetCopyData(open, &buffer, 1)
            if count > 0, let start = unsafe buffer {
                // SAFETY: libpq gives away `count` bytes, which are copied and freed.
                unsafe chunk.append(
                    contentsOf: UnsafeRawBufferPointer(start: start, count: Int(count)))
                unsafe PQfreemem(start)
                if chunk.count >= limit { return true }
            } else if count == 0 {
                if !chunk.isEmpty { return true }
                try waitForSocket(alsoWriting: false, patience)
                // On a failure PQgetCopyData ends, and PQgetResult has the error to tell.
                _ = unsafe PQconsumeInput(open)
                if !isOpen { return false }
            } else {
                return false
            }
        }
    }

    /// Writes until libpq's buffer is empty, reading what comes meanwhile (a server that cannot get
    /// rid of notices would not read on).
    package func flush(_ patience: Patience) throws {
        while true {
            let status = unsafe PQflush(open)
            if status == 0 { return }
            if status < 0 { throw lost() }
            try waitForSocket(alsoWriting: true, patience)
            if unsafe PQconsumeInput(open) == 0 { throw lost() }
        }
    }

    // MARK: Errors

    private func accepted(_ status: Int32) throws(ServerMessage) {
        if status != 1 { throw lost() }
    }

    /// libpq's own reason, which has no SQLSTATE.
    private func lost() -> ServerMessage {
        let message = unsafe ConnectionString.text(PQerrorMessage(open))
        return ServerMessage(severity: "FATAL", sqlState: "", message: message)
    }
}

/// Parameters as libpq takes them, for the time of one call.
@unsafe
private struct LibPQArrays {
    let types: UnsafePointer<Oid>?
    let values: UnsafePointer<UnsafePointer<CChar>?>?
    let lengths: UnsafePointer<Int32>?
    let formats: UnsafePointer<Int32>?
}

extension [StatementParameter] {
    /// All values lie in one block, each with a NUL behind it, for libpq takes a text's end from it.
    fileprivate func withLibPQArrays<Result>(_ body: (LibPQArrays) -> Result) -> Result {
        if isEmpty {
            return unsafe body(LibPQArrays(types: nil, values: nil, lengths: nil, formats: nil))
        }
        var block: [UInt8] = []
        var starts: [Int?] = []
        block.reserveCapacity(reduce(0) { $0 + ($1.bytes?.count ?? 0) + 1 })
        for parameter in self {
            guard let bytes = parameter.bytes else {
                starts.append(nil)
                continue
            }
            starts.append(block.count)
            block.append(contentsOf: bytes)
            block.append(0)
        }
        let types = map { Oid($0.type) }
        let lengths = map { Int32($0.bytes?.count ?? 0) }
        let formats = map { Int32($0.isBinary ? 1 : 0) }
        // SAFETY: libpq copies everything before its call returns; the block does not move.
        return unsafe block.withUnsafeBytes { bytes in
            let base = unsafe bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
            let values = unsafe starts.map { start in
                unsafe start.flatMap { offset in unsafe base.map { unsafe $0 + offset } }
            }
            return unsafe types.withUnsafeBufferPointer { types in
                unsafe values.withUnsafeBufferPointer { values in
                    unsafe lengths.withUnsafeBufferPointer { lengths in
                        unsafe formats.withUnsafeBufferPointer { formats in
                            unsafe body(
                                LibPQArrays(
                                    types: types.baseAddress, values: values.baseAddress,
                                    lengths: lengths.baseAddress, formats: formats.baseAddress))
                        }
                    }
                }
            }
        }
    }
}

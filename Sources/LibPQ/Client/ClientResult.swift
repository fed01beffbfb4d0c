// SPDX-License-Identifier: Apache-2.0

import CLibPQ

/// A server's error or notice, all fields that an application can use.
package struct ServerMessage: Error, Equatable, Sendable {
    /// `ERROR`, `FATAL`, `WARNING` …, never translated.
    package var severity: String
    /// Empty when libpq made the message itself: the connection is lost then.
    package var sqlState: String
    package var message: String
    package var detail: String?
    package var hint: String?
    package var position: Int?
    package var context: String?
    package var schema: String?
    package var table: String?
    package var column: String?
    package var dataType: String?
    package var constraint: String?

    package init(severity: String, sqlState: String, message: String) {
        self.severity = severity
        self.sqlState = sqlState
        self.message = message
    }

    init(_ result: OpaquePointer) {
        func field(_ code: Character) -> String? {
            // SAFETY: the text belongs to the result, which outlives this call, and is copied.
            unsafe PQresultErrorField(result, Int32(code.asciiValue!)).map {
                unsafe String(cString: $0)
            }
        }
        severity = field("V") ?? field("S") ?? "ERROR"
        sqlState = field("C") ?? ""
        message = unsafe field("M") ?? ConnectionString.text(PQresultErrorMessage(result))
        detail = field("D")
        hint = field("H")
        position = field("P").flatMap { Int($0) }
        context = field("W")
        schema = field("s")
        table = field("t")
        column = field("c")
        dataType = field("d")
        constraint = field("n")
    }
}

/// The one owner of a `PGresult`.
///
/// Sendable: a result is never changed once libpq has given it away, and any thread may read it.
@safe
package final class ClientResult: @unchecked Sendable {
    package enum Status: Equatable, Sendable {
        /// Rows, all of them.
        case rows
        /// One row of several, in single-row mode.
        case singleRow
        case command
        case empty
        case copyIn, copyOut, copyBoth
        case pipelineSync, pipelineAborted
        case error
        case unexpected
    }

    package let status: Status
    package let rowCount: Int
    package let columnCount: Int
    private let handle: OpaquePointer

    init(owning handle: OpaquePointer) {
        unsafe self.handle = unsafe handle
        rowCount = unsafe Int(PQntuples(handle))
        columnCount = unsafe Int(PQnfields(handle))
        status =
            switch unsafe PQresultStatus(handle) {
            case PGRES_TUPLES_OK: .rows
            case PGRES_SINGLE_TUPLE: .singleRow
            case PGRES_COMMAND_OK: .command
            case PGRES_EMPTY_QUERY: .empty
            case PGRES_COPY_IN: .copyIn
            case PGRES_COPY_OUT: .copyOut
            case PGRES_COPY_BOTH: .copyBoth
            case PGRES_PIPELINE_SYNC: .pipelineSync
            case PGRES_PIPELINE_ABORTED: .pipelineAborted
            case PGRES_FATAL_ERROR, PGRES_NONFATAL_ERROR: .error
            default: .unexpected
            }
    }

    deinit { unsafe PQclear(handle) }

    package var error: ServerMessage { unsafe ServerMessage(handle) }

    /// The command tag, such as `UPDATE 3`.
    package var commandTag: String { unsafe String(cString: PQcmdStatus(handle)) }

    /// PQcmdTuples: the rows that the command concerned; 0 when it does not say.
    package var affectedRows: Int { unsafe Int(String(cString: PQcmdTuples(handle))) ?? 0 }

    package func columnName(_ column: Int) -> String {
        precondition(column >= 0 && column < columnCount, "no such column")
        return unsafe String(cString: PQfname(handle, Int32(column)))
    }

    /// The OID of the column's type.
    package func columnType(_ column: Int) -> UInt32 {
        precondition(column >= 0 && column < columnCount, "no such column")
        return unsafe PQftype(handle, Int32(column))
    }

    /// PQfformat: binary rather than text.
    package func isBinary(_ column: Int) -> Bool {
        precondition(column >= 0 && column < columnCount, "no such column")
        return unsafe PQfformat(handle, Int32(column)) == 1
    }

    package func isNull(_ row: Int, _ column: Int) -> Bool {
        check(row, column)
        return unsafe PQgetisnull(handle, Int32(row), Int32(column)) != 0
    }

    /// The bytes of a value, for the time of the call; nil for NULL.
    package func withValue<Result, Failure: Error>(
        _ row: Int, _ column: Int, _ body: (Span<UInt8>?) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        if isNull(row, column) { return try body(nil) }
        let count = unsafe Int(PQgetlength(handle, Int32(row), Int32(column)))
        // SAFETY: libpq keeps `count` bytes there as long as the result, which `self` owns.
        let start = unsafe PQgetvalue(handle, Int32(row), Int32(column))!
        let bytes = unsafe UnsafeRawBufferPointer(start: start, count: count)
            .assumingMemoryBound(to: UInt8.self)
        defer { withExtendedLifetime(self) {} }
        return try body(unsafe Span(_unsafeElements: bytes))
    }

    /// A value in the text format; nil for NULL.
    package func text(_ row: Int, _ column: Int) -> String? {
        withValue(row, column) { bytes in
            guard let bytes else { return nil }
            return String(decoding: bytes.indices.map { bytes[$0] }, as: UTF8.self)
        }
    }

    private func check(_ row: Int, _ column: Int) {
        precondition(row >= 0 && row < rowCount, "no such row")
        precondition(column >= 0 && column < columnCount, "no such column")
    }
}

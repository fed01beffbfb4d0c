// SPDX-License-Identifier: Apache-2.0

import CLibPQ

/// A server's error to a statement, or libpq's own when no SQLSTATE is there.
package struct QueryError: Error, Equatable, Sendable {
    package let sqlState: String?
    package let message: String
    package let detail: String?
    package let hint: String?
}

/// The rows of one statement, as text; nil stands for NULL.
package struct QueryResult: Equatable, Sendable {
    package let columns: [String]
    package let rows: [[String?]]
    /// The command tag, such as `UPDATE 3`.
    package let command: String
}

extension PostgresConnection {
    /// PQexec: waits for the answer. For tools and tests; the stream must be at rest (no bytes of a
    /// relayed message under way), and COPY is not for this call.
    package func execute(_ sql: String) throws(QueryError) -> QueryResult {
        guard let result = unsafe PQexec(open, sql) else {
            throw unsafe QueryError(
                sqlState: nil, message: ConnectionString.text(PQerrorMessage(open)),
                detail: nil, hint: nil)
        }
        defer { unsafe PQclear(result) }
        switch unsafe PQresultStatus(result) {
        case PGRES_TUPLES_OK, PGRES_COMMAND_OK, PGRES_EMPTY_QUERY:
            return unsafe QueryResult(result)
        default:
            throw unsafe QueryError(result)
        }
    }
}

extension QueryError {
    /// Of a result that is an error.
    fileprivate init(_ result: OpaquePointer) {
        func field(_ code: Character) -> String? {
            // SAFETY: the text belongs to the result, which outlives this call.
            unsafe PQresultErrorField(result, Int32(code.asciiValue!)).map {
                unsafe String(cString: $0)
            }
        }
        sqlState = field("C")
        message = unsafe field("M") ?? ConnectionString.text(PQresultErrorMessage(result))
        detail = field("D")
        hint = field("H")
    }
}

extension QueryResult {
    fileprivate init(_ result: OpaquePointer) {
        // SAFETY: all texts belong to the result, which outlives this call, and are copied.
        let width = unsafe PQnfields(result)
        columns = (0..<width).map { unsafe String(cString: PQfname(result, $0)) }
        rows = (0..<(unsafe PQntuples(result))).map { row in
            (0..<width).map { column in
                unsafe PQgetisnull(result, row, column) != 0
                    ? nil : unsafe String(cString: PQgetvalue(result, row, column))
            }
        }
        command = unsafe String(cString: PQcmdStatus(result))
    }
}

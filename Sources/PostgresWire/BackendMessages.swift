// SPDX-License-Identifier: Apache-2.0

/// A column of a RowDescription.
package struct ColumnDescription: Equatable, Sendable {
    package var name: String
    package var typeOID: UInt32
    /// `pg_type.typlen`: bytes, or -1 for a type of no fixed length.
    package var typeSize: Int16
    /// 0 for text, 1 for binary.
    package var format: Int16

    /// A column of type `text`, unless told otherwise.
    package init(name: String, typeOID: UInt32 = 25, typeSize: Int16 = -1, format: Int16 = 0) {
        self.name = name
        self.typeOID = typeOID
        self.typeSize = typeSize
        self.format = format
    }
}

/// The messages that a server sends. Each function appends one complete message.
extension [UInt8] {
    private mutating func appendMessage(
        _ kind: BackendKind, _ body: (inout [UInt8]) -> Void = { _ in }
    ) {
        appendMessage(kind: kind.rawValue, body)
    }

    // MARK: What goes wrong

    /// ErrorResponse ('E').
    package mutating func appendErrorResponse(_ error: PgError) {
        appendMessage(.errorResponse) { $0.appendFields(of: error) }
    }

    /// NoticeResponse ('N').
    package mutating func appendNoticeResponse(_ notice: PgError) {
        appendMessage(.noticeResponse) { $0.appendFields(of: notice) }
    }

    private mutating func appendFields(of error: PgError) {
        appendField("S", error.severity.rawValue)
        appendField("V", error.severity.rawValue)
        appendField("C", error.sqlState.rawValue)
        appendField("M", error.message)
        if let detail = error.detail { appendField("D", detail) }
        if let hint = error.hint { appendField("H", hint) }
        if let position = error.position { appendField("P", String(position)) }
        append(0)
    }

    private mutating func appendField(_ code: Unicode.Scalar, _ text: String) {
        append(UInt8(ascii: code))
        appendCString(text)
    }

    // MARK: Login

    /// AuthenticationOk ('R', 0).
    package mutating func appendAuthenticationOk() {
        appendMessage(.authentication) { $0.appendInteger(Int32(0)) }
    }

    /// AuthenticationCleartextPassword ('R', 3).
    package mutating func appendAuthenticationCleartextPassword() {
        appendMessage(.authentication) { $0.appendInteger(Int32(3)) }
    }

    /// AuthenticationMD5Password ('R', 5) with the salt's four bytes, most significant first.
    package mutating func appendAuthenticationMD5Password(salt: UInt32) {
        appendMessage(.authentication) {
            $0.appendInteger(Int32(5))
            $0.appendInteger(salt)
        }
    }

    /// AuthenticationSASL ('R', 10) with the mechanisms in order of preference.
    package mutating func appendAuthenticationSASL(mechanisms: [String]) {
        appendMessage(.authentication) {
            $0.appendInteger(Int32(10))
            for mechanism in mechanisms { $0.appendCString(mechanism) }
            $0.append(0)
        }
    }

    /// AuthenticationSASLContinue ('R', 11).
    package mutating func appendAuthenticationSASLContinue(_ data: [UInt8]) {
        appendMessage(.authentication) {
            $0.appendInteger(Int32(11))
            $0.append(contentsOf: data)
        }
    }

    package mutating func appendAuthenticationSASLContinue(_ data: String) {
        appendAuthenticationSASLContinue(Array(data.utf8))
    }

    /// AuthenticationSASLFinal ('R', 12).
    package mutating func appendAuthenticationSASLFinal(_ data: [UInt8]) {
        appendMessage(.authentication) {
            $0.appendInteger(Int32(12))
            $0.append(contentsOf: data)
        }
    }

    package mutating func appendAuthenticationSASLFinal(_ data: String) {
        appendAuthenticationSASLFinal(Array(data.utf8))
    }

    /// BackendKeyData ('K').
    ///
    /// `rest`: what the secret has beyond four bytes, from protocol 3.2 on.
    package mutating func appendBackendKeyData(
        processID: Int32, secretKey: Int32, rest: [UInt8] = []
    ) {
        appendMessage(.backendKeyData) {
            $0.appendInteger(processID)
            $0.appendInteger(secretKey)
            $0 += rest
        }
    }

    /// ParameterStatus ('S').
    package mutating func appendParameterStatus(name: String, value: String) {
        appendMessage(.parameterStatus) {
            $0.appendCString(name)
            $0.appendCString(value)
        }
    }

    /// NegotiateProtocolVersion ('v'): protocol 3.`minor` is the newest that is spoken here.
    ///
    /// The whole version goes on the wire, as PostgreSQL sends it, though its manual says "minor".
    package mutating func appendNegotiateProtocolVersion(minor: Int32, unrecognized: [String]) {
        appendMessage(.negotiateProtocolVersion) {
            $0.appendInteger(Int32(3) << 16 | minor)
            $0.appendInteger(Int32(unrecognized.count))
            for name in unrecognized { $0.appendCString(name) }
        }
    }

    // MARK: Answers to statements

    /// ReadyForQuery ('Z').
    package mutating func appendReadyForQuery(_ status: TransactionStatus) {
        appendMessage(.readyForQuery) { $0.append(status.rawValue) }
    }

    /// RowDescription ('T'), of columns that belong to no table.
    package mutating func appendRowDescription(_ columns: [ColumnDescription]) {
        appendMessage(.rowDescription) {
            $0.appendCount(columns.count)
            for column in columns {
                $0.appendCString(column.name)
                $0.appendInteger(UInt32(0))
                $0.appendInteger(Int16(0))
                $0.appendInteger(column.typeOID)
                $0.appendInteger(column.typeSize)
                $0.appendInteger(Int32(-1))
                $0.appendInteger(column.format)
            }
        }
    }

    /// DataRow ('D'); nil is NULL.
    package mutating func appendDataRow(_ values: [[UInt8]?]) {
        appendMessage(.dataRow) {
            $0.appendCount(values.count)
            for value in values { $0.appendValue(value) }
        }
    }

    /// DataRow ('D') of values in text format; nil is NULL.
    package mutating func appendDataRow(texts: [String?]) {
        appendMessage(.dataRow) {
            $0.appendCount(texts.count)
            for text in texts { $0.appendValue(text?.utf8) }
        }
    }

    /// CommandComplete ('C').
    package mutating func appendCommandComplete(_ tag: String) {
        appendMessage(.commandComplete) { $0.appendCString(tag) }
    }

    /// ParseComplete ('1').
    package mutating func appendParseComplete() { appendMessage(.parseComplete) }

    /// BindComplete ('2').
    package mutating func appendBindComplete() { appendMessage(.bindComplete) }

    /// CloseComplete ('3').
    package mutating func appendCloseComplete() { appendMessage(.closeComplete) }

    /// NoData ('n').
    package mutating func appendNoData() { appendMessage(.noData) }

    /// EmptyQueryResponse ('I').
    package mutating func appendEmptyQueryResponse() { appendMessage(.emptyQueryResponse) }

    /// PortalSuspended ('s').
    package mutating func appendPortalSuspended() { appendMessage(.portalSuspended) }

    /// ParameterDescription ('t').
    package mutating func appendParameterDescription(_ oids: [UInt32]) {
        appendMessage(.parameterDescription) {
            $0.appendCount(oids.count)
            for oid in oids { $0.appendInteger(oid) }
        }
    }
}

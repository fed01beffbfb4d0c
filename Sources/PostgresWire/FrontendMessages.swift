// SPDX-License-Identifier: Apache-2.0

/// The messages that a client sends. Each function appends one complete message.
extension [UInt8] {
    private mutating func appendMessage(
        _ kind: FrontendKind, _ body: (inout [UInt8]) -> Void = { _ in }
    ) {
        appendMessage(kind: kind.rawValue, body)
    }

    // MARK: Before the session

    /// StartupMessage: `version` is the major number in the upper 16 bits, the minor in the lower.
    package mutating func appendStartupMessage(
        parameters: [(String, String)], version: UInt32 = 3 << 16
    ) {
        appendLengthPrefixed {
            $0.appendInteger(version)
            for (name, value) in parameters {
                $0.appendCString(name)
                $0.appendCString(value)
            }
            $0.append(0)
        }
    }

    /// SSLRequest.
    package mutating func appendSSLRequest() {
        appendLengthPrefixed { $0.appendInteger(StartupPacket.sslRequestCode) }
    }

    /// GSSENCRequest.
    package mutating func appendGSSRequest() {
        appendLengthPrefixed { $0.appendInteger(StartupPacket.gssRequestCode) }
    }

    /// CancelRequest.
    package mutating func appendCancelRequest(processID: Int32, secretKey: [UInt8]) {
        appendLengthPrefixed {
            $0.appendInteger(StartupPacket.cancelRequestCode)
            $0.appendInteger(processID)
            $0.append(contentsOf: secretKey)
        }
    }

    /// CancelRequest with the four-byte key of protocol 3.0.
    package mutating func appendCancelRequest(processID: Int32, secretKey: Int32) {
        var key: [UInt8] = []
        key.appendInteger(secretKey)
        appendCancelRequest(processID: processID, secretKey: key)
    }

    /// PasswordMessage ('p').
    package mutating func appendPasswordMessage(_ password: String) {
        appendMessage(.password) { $0.appendCString(password) }
    }

    /// SASLInitialResponse ('p').
    package mutating func appendSASLInitialResponse(mechanism: String, _ data: String) {
        appendMessage(.password) {
            $0.appendCString(mechanism)
            $0.appendValue(data.utf8)
        }
    }

    /// SASLResponse ('p').
    package mutating func appendSASLResponse(_ data: String) {
        appendMessage(.password) { $0.append(contentsOf: data.utf8) }
    }

    // MARK: Statements

    /// Query ('Q').
    package mutating func appendQuery(_ sql: String) {
        appendMessage(.query) { $0.appendCString(sql) }
    }

    /// Parse ('P').
    package mutating func appendParse(
        name: String, query: String, parameterTypes: [UInt32] = []
    ) {
        appendParse(name: name.utf8, query: query.utf8, parameterTypes: parameterTypes)
    }

    package mutating func appendParse(
        name: some Sequence<UInt8>, query: some Sequence<UInt8>, parameterTypes: [UInt32] = []
    ) {
        appendMessage(.parse) {
            $0.appendCString(name)
            $0.appendCString(query)
            $0.appendCount(parameterTypes.count)
            for oid in parameterTypes { $0.appendInteger(oid) }
        }
    }

    /// Bind ('B') of values in text format; nil is NULL. No `resultFormats` means text throughout.
    package mutating func appendBind(
        portal: String = "", statement: String = "", texts: [String?] = [],
        resultFormats: [Int16] = []
    ) {
        appendMessage(.bind) {
            $0.appendCString(portal)
            $0.appendCString(statement)
            $0.appendCount(0)
            $0.appendCount(texts.count)
            for text in texts { $0.appendValue(text?.utf8) }
            $0.appendCount(resultFormats.count)
            for format in resultFormats { $0.appendInteger(format) }
        }
    }

    /// Describe ('D') of a prepared statement.
    package mutating func appendDescribe(statement: String) {
        appendMessage(.describe) { $0.appendTarget("S", statement.utf8) }
    }

    /// Describe ('D') of a portal.
    package mutating func appendDescribe(portal: String) {
        appendMessage(.describe) { $0.appendTarget("P", portal.utf8) }
    }

    /// Execute ('E'); 0 rows means all of them.
    package mutating func appendExecute(portal: String = "", maximumRows: Int32 = 0) {
        appendMessage(.execute) {
            $0.appendCString(portal)
            $0.appendInteger(maximumRows)
        }
    }

    /// Close ('C') of a prepared statement.
    package mutating func appendCloseStatement(name: String) {
        appendCloseStatement(name: name.utf8)
    }

    package mutating func appendCloseStatement(name: some Sequence<UInt8>) {
        appendMessage(.close) { $0.appendTarget("S", name) }
    }

    /// Close ('C') of a portal.
    package mutating func appendClosePortal(name: String) {
        appendMessage(.close) { $0.appendTarget("P", name.utf8) }
    }

    private mutating func appendTarget(_ kind: Unicode.Scalar, _ name: some Sequence<UInt8>) {
        append(UInt8(ascii: kind))
        appendCString(name)
    }

    /// Sync ('S').
    package mutating func appendSync() { appendMessage(.sync) }

    /// Flush ('H').
    package mutating func appendFlush() { appendMessage(.flush) }

    /// Terminate ('X').
    package mutating func appendTerminate() { appendMessage(.terminate) }

    /// CopyData ('d'), which both sides send.
    package mutating func appendCopyData(_ data: [UInt8]) {
        appendMessage(.copyData) { $0.append(contentsOf: data) }
    }

    /// CopyDone ('c'), which both sides send.
    package mutating func appendCopyDone() { appendMessage(.copyDone) }

    /// CopyFail ('f').
    package mutating func appendCopyFail(_ reason: String) {
        appendMessage(.copyFail) { $0.appendCString(reason) }
    }
}

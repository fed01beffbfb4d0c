import COpenSSL

/// Why a context cannot be made of its options: which of them, and what to do.
package struct TLSSetupError: Error, Equatable, Sendable {
    package enum Subject: Sendable {
        case certificate, key, authority, protocols, ciphers, cipherSuites, curve
        /// OpenSSL itself.
        case library
    }

    package let subject: Subject
    package let reason: String
    package let advice: String?

    init(_ subject: Subject, _ reason: String, advice: String? = nil) {
        self.subject = subject
        self.reason = reason
        self.advice = advice
    }
}

/// OpenSSL's queue of errors, which belongs to the thread.
enum TLSErrorQueue {
    /// Takes the newest error, which is the nearest to what was called, and empties the queue
    /// (ERR_peek_last_error, ERR_clear_error).
    static func take() -> String? {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        guard code != 0 else { return nil }
        guard let reason = unsafe ERR_reason_error_string(code) else { return "error \(code)" }
        return unsafe String(cString: reason)
    }

    /// Takes the oldest error: the one that all others follow from.
    static func takeFirst() -> String? {
        let code = ERR_peek_error()
        ERR_clear_error()
        guard code != 0 else { return nil }
        guard let reason = unsafe ERR_reason_error_string(code) else { return "error \(code)" }
        return unsafe String(cString: reason)
    }
}

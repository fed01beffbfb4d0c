// SPDX-License-Identifier: Apache-2.0

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
    /// Takes all errors, the oldest first: the others follow from it (ERR_get_error).
    static func takeAll() -> [String] {
        var reasons: [String] = []
        while true {
            let code = ERR_get_error()
            if code == 0 { return reasons }
            let reason = unsafe ERR_reason_error_string(code).map { unsafe String(cString: $0) }
            reasons.append(reason ?? "error \(code)")
        }
    }

    /// Takes all errors; returns the oldest.
    static func take() -> String? { takeAll().first }
}

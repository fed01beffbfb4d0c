// SPDX-License-Identifier: Apache-2.0

import CPAM

/// Logins by PAM.
package enum PAMLogin {
    package enum Outcome: Equatable, Sendable {
        case letIn
        /// What PAM says about it (pam_strerror).
        case refused(String)
    }

    /// Asks the modules of a service whether the user may log in with this password (pam_authenticate,
    /// pam_acct_mgmt). Takes as long as the modules take: on a worker thread only, and one at a time, since not
    /// every module keeps to threads.
    package static func check(
        service: String, user: String, password: [UInt8], host: String
    ) -> Outcome {
        guard !password.contains(0) else { return .refused("a NUL in the password") }
        var text = password.map { CChar(bitPattern: $0) } + [0]
        // SAFETY: all texts end with a NUL and outlive the call; the reason's size is told.
        return unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 256) { reason in
            unsafe reason.initialize(repeating: 0)
            let status = unsafe pglease_pam_check(
                service, user, &text, host, reason.baseAddress, reason.count)
            if status == PAM_SUCCESS { return .letIn }
            return unsafe .refused(String(cString: reason.baseAddress!))
        }
    }
}

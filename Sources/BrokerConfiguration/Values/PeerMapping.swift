// SPDX-License-Identifier: Apache-2.0

/// One pair of `peer_map`: a user of the operating system that may log in as a role.
package struct PeerMapping: Equatable, Sendable {
    /// A name of the operating system, a uid, or `*`.
    package var systemUser: String
    /// A role, or `*`.
    package var role: String

    package init(systemUser: String, role: String) {
        self.systemUser = systemUser
        self.role = role
    }

    /// `systemUser` is nil for a uid without a name, as in another container.
    package func allows(systemUser: String?, userID: UInt32, role: String) -> Bool {
        (self.systemUser == "*" || self.systemUser == systemUser || self.systemUser == "\(userID)")
            && (self.role == "*" || self.role == role)
    }
}

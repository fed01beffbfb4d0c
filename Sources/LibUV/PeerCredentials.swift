import CLibUV
import Glibc

/// Who connected to a Unix socket, by the kernel's word at the time of connect (SO_PEERCRED).
package struct PeerCredentials: Equatable, Sendable {
    /// 0 when the peer's process is not visible in this process's PID namespace.
    package let processID: Int32
    package let userID: UInt32
    package let groupID: UInt32

    /// Nil when the descriptor is no connected Unix socket.
    package init?(descriptor: Int32) {
        guard Descriptor.isUnixSocket(descriptor) else { return nil }
        var credentials = pglease_credentials()
        guard Descriptor.getOption(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials) else {
            return nil
        }
        processID = credentials.process_id
        userID = credentials.user_id
        groupID = credentials.group_id
    }
}

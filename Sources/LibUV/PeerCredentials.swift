// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// Who connected to a Unix socket, by the kernel's word at the time of connect (SO_PEERCRED).
package struct PeerCredentials: Equatable, Sendable {
    /// 0 when the peer's process is not visible in this process's PID namespace.
    package let processID: Int32
    package let userID: UInt32
    package let groupID: UInt32
    /// The process that connected; nil when it is not visible, or has ended.
    package let process: ProcessIdentity?

    /// Nil when the descriptor is no connected Unix socket. To be asked for when the connection is accepted.
    package init?(descriptor: Int32) {
        guard Descriptor.isUnixSocket(descriptor) else { return nil }
        var credentials = pglease_credentials()
        guard Descriptor.getOption(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials) else {
            return nil
        }
        processID = credentials.process_id
        userID = credentials.user_id
        groupID = credentials.group_id
        process = PeerCredentials.process(credentials, connectedTo: descriptor)
    }

    private static func process(
        _ credentials: pglease_credentials, connectedTo descriptor: Int32
    ) -> ProcessIdentity? {
        guard credentials.process_id > 0 else { return nil }
        var process: Int32 = -1
        let isKnown = Descriptor.getOption(
            descriptor, SOL_SOCKET, pglease_so_peerpidfd(), &process)
        let error = errno
        defer { if isKnown { Descriptor.close(process) } }
        if !isKnown, error == ESRCH || error == EINVAL { return nil }
        let mark: UInt64?
        if isKnown, ProcessDescriptor.haveInodes {
            mark = ProcessDescriptor.inode(of: process)
        } else {
            // Before Linux 6.5, or without a descriptor to spare, the number alone must do: nobody else has it
            // yet, unless the peer has ended since it connected.
            mark = ProcessIdentity.mark(of: credentials.process_id)
            if isKnown, ProcessDescriptor.hasEnded(process) { return nil }
        }
        return ProcessIdentity(
            processID: credentials.process_id, userID: credentials.user_id, mark: mark ?? 0)
    }
}

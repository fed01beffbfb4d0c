// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Listening sockets that another process hands over while it serves on: whoever wants to listen at the same address
/// takes the socket itself, with all who wait in its queue. Owns those that nobody has taken.
package final class HandedSockets {
    package struct Socket {
        package let descriptor: Int32
        /// The lock of the socket's file, held by whoever has this descriptor; nil where there is none.
        package let lock: Int32?

        package init(descriptor: Int32, lock: Int32? = nil) {
            self.descriptor = descriptor
            self.lock = lock
        }
    }

    private var sockets: [Socket]
    /// The service manager listens: all of them are used, whatever is configured.
    package let areAdopted: Bool

    package init(_ sockets: [Socket], areAdopted: Bool = false) {
        self.sockets = sockets
        self.areAdopted = areAdopted
    }

    deinit { closeRest() }

    /// Those that nobody wants any more.
    package func closeRest() {
        for socket in sockets {
            Descriptor.close(socket.descriptor)
            if let lock = socket.lock { Descriptor.close(lock) }
        }
        sockets = []
    }

    /// The next one, whatever it listens at.
    package func takeAny() -> Socket? { sockets.popLast() }

    func take(unix path: String) -> Socket? {
        take { UnixAddress.path(of: $0.descriptor) == path }
    }

    func take(_ address: SocketAddress, port: UInt16) -> Socket? {
        take {
            guard let local = SocketAddress(localOf: $0.descriptor) else { return false }
            return local.host == address.host && local.port == port
        }
    }

    private func take(_ isMeant: (Socket) -> Bool) -> Socket? {
        guard let index = sockets.firstIndex(where: isMeant) else { return nil }
        return sockets.remove(at: index)
    }
}

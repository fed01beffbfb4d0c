// SPDX-License-Identifier: Apache-2.0

import Glibc

/// A Unix socket's name in the kernel's form; one that begins with `@` is abstract.
package struct UnixSocketAddress {
    private var address = sockaddr_un()
    private let length: socklen_t

    /// Nil when the name is empty or longer than the 107 bytes that fit.
    package init?(_ path: String) {
        var bytes = Array(path.utf8)
        guard !bytes.isEmpty, bytes.count < MemoryLayout.size(ofValue: address.sun_path) else {
            return nil
        }
        let isAbstract = bytes[0] == UInt8(ascii: "@")
        if isAbstract { bytes[0] = 0 }
        // An abstract name is as long as it says; a path ends with its NUL.
        let nameLength = bytes.count + (isAbstract ? 0 : 1)
        length = socklen_t(MemoryLayout<sockaddr_un>.offset(of: \.sun_path)! + nameLength)
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    }

    /// For `connect(2)`, which sets errno.
    package func connect(_ descriptor: Int32) -> Int32 {
        withUnsafePointer(to: address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, length)
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// An Internet address and port: the kernel's form and its numeric text.
package struct SocketAddress: Sendable {
    /// Numeric: `127.0.0.1`, `fe80::1%eth0`.
    package let host: String
    package let port: UInt16
    let storage: sockaddr_storage
    let length: socklen_t

    /// Nil for what is neither IPv4 nor IPv6.
    init?(_ address: UnsafePointer<sockaddr>, length: socklen_t) {
        let family = Int32(unsafe address.pointee.sa_family)
        guard family == AF_INET || family == AF_INET6,
            length <= MemoryLayout<sockaddr_storage>.size
        else { return nil }
        var copy = sockaddr_storage()
        // SAFETY: `length` bytes are readable by the caller's word, and fit by the check above.
        unsafe withUnsafeMutableBytes(of: &copy) { bytes in
            unsafe bytes.copyMemory(
                from: UnsafeRawBufferPointer(start: address, count: Int(length)))
        }
        storage = copy
        self.length = length
        host = unsafe SocketAddress.numericHost(address, length: length)
        port = unsafe withUnsafeBytes(of: &copy) { bytes in
            // Both families keep the port, in network order, behind the two bytes of the family.
            UInt16(bigEndian: unsafe bytes.load(fromByteOffset: 2, as: UInt16.self))
        }
    }

    /// Whether one who listens here hears what comes for the other.
    func includes(_ other: SocketAddress) -> Bool {
        isIPv6 == other.isIPv6
            && (host == other.host || host == "0.0.0.0" || host == "::")
    }

    /// The other end of a TCP connection (getpeername).
    package init?(peerOf descriptor: Int32) {
        unsafe self.init(asking: getpeername, of: descriptor)
    }

    /// This end of a TCP connection or listener (getsockname).
    package init?(localOf descriptor: Int32) {
        unsafe self.init(asking: getsockname, of: descriptor)
    }

    private init?(
        asking function: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) ->
            Int32,
        of descriptor: Int32
    ) {
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        var buffer = sockaddr_storage()
        // SAFETY: the kernel writes at most `length` bytes into the buffer.
        let made: SocketAddress? = unsafe withUnsafeMutablePointer(to: &buffer) { pointer in
            unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard unsafe function(descriptor, address, &length) == 0 else { return nil }
                return unsafe SocketAddress(address, length: length)
            }
        }
        guard let made else { return nil }
        self = made
    }

    var isIPv6: Bool { Int32(storage.ss_family) == AF_INET6 }

    /// The Internet addresses of a getaddrinfo answer.
    static func list(_ first: UnsafeMutablePointer<addrinfo>?) -> [SocketAddress] {
        var addresses: [SocketAddress] = []
        var next = unsafe first
        // SAFETY: a list that getaddrinfo made and that the caller frees afterwards.
        while let entry = unsafe next {
            if let address = unsafe entry.pointee.ai_addr,
                let made = unsafe SocketAddress(address, length: entry.pointee.ai_addrlen)
            {
                addresses.append(made)
            }
            unsafe next = entry.pointee.ai_next
        }
        return addresses
    }

    /// getnameinfo rather than uv_ip_name: it keeps the scope of a link-local address.
    private static func numericHost(_ address: UnsafePointer<sockaddr>, length: socklen_t) -> String
    {
        unsafe withUnsafeTemporaryAllocation(of: CChar.self, capacity: 128) { buffer in
            let status = unsafe getnameinfo(
                address, length, buffer.baseAddress!, socklen_t(buffer.count), nil, 0,
                NI_NUMERICHOST)
            return status == 0 ? unsafe String(cString: buffer.baseAddress!) : "?"
        }
    }
}

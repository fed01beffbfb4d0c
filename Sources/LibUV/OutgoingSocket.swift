// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// Connections that are begun, and may still be under way: writable once they are through.
extension Descriptor {
    package static func connect(unix path: String) throws(UVError) -> Int32 {
        let address = try UnixAddress(path: path)
        let descriptor = try ListeningSocket.makeSocket(family: AF_UNIX)
        let status = unsafe address.withPointer { unsafe Glibc.connect(descriptor, $0, $1) }
        return try begun(descriptor, status)
    }

    /// `host` is numeric.
    package static func connect(tcp host: String, port: UInt16) throws(UVError) -> Int32 {
        var hints = unsafe addrinfo()
        unsafe hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        unsafe hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        // SAFETY: the list is freed below; numeric names are not looked up.
        guard unsafe getaddrinfo(host, String(port), &hints, &list) == 0, let entry = unsafe list
        else { throw UVError(errno: EADDRNOTAVAIL, call: "getaddrinfo") }
        defer { unsafe freeaddrinfo(list) }
        let descriptor = try ListeningSocket.makeSocket(family: unsafe entry.pointee.ai_family)
        let status = unsafe Glibc.connect(
            descriptor, entry.pointee.ai_addr, entry.pointee.ai_addrlen)
        return try begun(descriptor, status)
    }

    private static func begun(_ descriptor: Int32, _ status: Int32) throws(UVError) -> Int32 {
        if status == 0 || errno == EINPROGRESS { return descriptor }
        let error = errno
        close(descriptor)
        throw UVError(errno: error, call: "connect")
    }
}

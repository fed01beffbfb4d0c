// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// A bound and listening descriptor, and the socket file that goes with it. Closes both.
struct ListeningSocket: ~Copyable {
    let descriptor: Int32
    private var file: UnixSocketFile?

    deinit { Descriptor.close(descriptor) }

    /// A socket that somebody else bound, such as systemd; its file stays when it is closed.
    init(adopting descriptor: Int32) throws(UVError) {
        var isListening: Int32 = 0
        guard Descriptor.getOption(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &isListening),
            isListening != 0
        else {
            throw UVError(
                code: -EINVAL, call: "getsockopt",
                message: "descriptor \(descriptor) is no listening socket")
        }
        try Descriptor.prepare(descriptor)
        self.descriptor = descriptor
        file = nil
    }

    /// One that another process has bound, and goes on listening on until it is told that this one does.
    init(
        taking socket: HandedSockets.Socket, unix path: String?, backlog: Int32, mode: UInt16?,
        group: UInt32?
    ) throws(UVError) {
        var file: UnixSocketFile? = nil
        do throws(UVError) {
            if let path, let lock = socket.lock {
                file = try UnixSocketFile(taking: lock, of: path)
                try file?.settle(mode: mode, group: group)
            }
            try Descriptor.prepare(socket.descriptor)
            try ListeningSocket.startListening(socket.descriptor, backlog)
        } catch {
            Descriptor.close(socket.descriptor)
            throw error
        }
        descriptor = socket.descriptor
        self.file = file
    }

    /// The file, taken over from another process, is this one's from here on.
    mutating func claim() { file?.claim() }

    /// Another process listens from here on: the file stays.
    mutating func surrender() { file?.surrender() }

    /// What another process needs to listen here.
    var handedOut: HandedSockets.Socket {
        HandedSockets.Socket(descriptor: descriptor, lock: lock)
    }

    private var lock: Int32? {
        switch file {
        case .some(let file): file.lock
        case nil: nil
        }
    }

    init(unix path: String, backlog: Int32, mode: UInt16?, group: UInt32?) throws(UVError) {
        let address = try UnixAddress(path: path)
        var file: UnixSocketFile? = nil
        if !path.hasPrefix("@") { file = try UnixSocketFile(claiming: path) }
        let descriptor = try ListeningSocket.makeSocket(family: AF_UNIX)
        do throws(UVError) {
            if unsafe address.withPointer({ unsafe bind(descriptor, $0, $1) }) != 0 {
                throw ListeningSocket.bindError(errno, path)
            }
            try file?.settle(mode: mode, group: group)
            try ListeningSocket.startListening(descriptor, backlog)
        } catch {
            Descriptor.close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        self.file = file
    }

    init(
        tcp address: SocketAddress, port: UInt16, backlog: Int32, sharesPort: Bool = false
    ) throws(UVError) {
        let family = Int32(address.storage.ss_family)
        let descriptor = try ListeningSocket.makeSocket(family: family)
        do throws(UVError) {
            try Descriptor.setOption(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
            if sharesPort { try Descriptor.setOption(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
            if address.isIPv6 {
                try Descriptor.setOption(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1)
            }
            if unsafe address.withPointer(port: port, { unsafe bind(descriptor, $0, $1) }) != 0 {
                throw ListeningSocket.bindError(errno, "\(address.host), port \(port)")
            }
            try ListeningSocket.startListening(descriptor, backlog)
        } catch {
            Descriptor.close(descriptor)
            throw error
        }
        self.descriptor = descriptor
        file = nil
    }

    static func makeSocket(family: Int32) throws(UVError) -> Int32 {
        let type = SOCK_STREAM.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue
        let descriptor = socket(family, Int32(type), 0)
        if descriptor < 0 { throw UVError(errno: errno, call: "socket") }
        return descriptor
    }

    private static func startListening(_ descriptor: Int32, _ backlog: Int32) throws(UVError) {
        if listen(descriptor, backlog) != 0 { throw UVError(errno: errno, call: "listen") }
    }

    private static func bindError(_ error: Int32, _ place: String) -> UVError {
        let reason = UVError(errno: error, call: "bind").message
        return UVError(code: -error, call: "bind", message: "cannot listen on \(place): \(reason)")
    }
}

extension SocketAddress {
    func withPointer<Result>(
        port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        var copy = storage
        // SAFETY: both families keep the port behind the two bytes of the family, and begin with
        // the fields of sockaddr.
        return unsafe withUnsafeMutableBytes(of: &copy) { bytes in
            unsafe bytes.storeBytes(of: port.bigEndian, toByteOffset: 2, as: UInt16.self)
            return unsafe bytes.withMemoryRebound(to: sockaddr.self) {
                unsafe body(UnsafePointer($0.baseAddress!), length)
            }
        }
    }
}

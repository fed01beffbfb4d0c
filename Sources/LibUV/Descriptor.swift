// SPDX-License-Identifier: Apache-2.0

import CLibUV
import Glibc

/// What a non-blocking read or write came to. EINTR is retried and never seen.
package enum IOResult: Equatable, Sendable {
    case bytes(Int)
    case wouldBlock
    /// End of file, or the peer is gone (EPIPE, ECONNRESET).
    case closed
    case failed(errno: Int32)
}

/// The system calls on a descriptor that somebody else owns.
package enum Descriptor {
    /// recv(2): sockets only.
    package static func read(
        _ descriptor: Int32, into buffer: UnsafeMutableRawBufferPointer
    ) -> IOResult {
        while true {
            // SAFETY: the kernel writes at most `count` bytes into the caller's buffer.
            let count = unsafe pglease_receive(descriptor, buffer.baseAddress, buffer.count)
            if count > 0 { return .bytes(count) }
            if count == 0 { return unsafe buffer.isEmpty ? .bytes(0) : .closed }
            if let result = outcome(of: errno) { return result }
        }
    }

    /// The next byte, which stays where it is (recv(2), MSG_PEEK); nil if there is none.
    package static func peek(_ descriptor: Int32) -> UInt8? {
        var byte: UInt8 = 0
        // SAFETY: the kernel writes at most one byte.
        return unsafe recv(descriptor, &byte, 1, Int32(MSG_PEEK)) == 1 ? byte : nil
    }

    /// send(2) with MSG_NOSIGNAL: sockets only.
    package static func write(_ descriptor: Int32, from buffer: UnsafeRawBufferPointer) -> IOResult
    {
        while true {
            // SAFETY: the kernel reads at most `count` bytes of the caller's buffer.
            let count = unsafe pglease_send(descriptor, buffer.baseAddress, buffer.count)
            if count >= 0 { return .bytes(count) }
            if let result = outcome(of: errno) { return result }
        }
    }

    /// sendmsg(2) with SCM_RIGHTS: the bytes, and with the first of them another descriptor for the
    /// process at the other end. Unix sockets only. The caller keeps its own.
    package static func write(
        _ descriptor: Int32, from buffer: UnsafeRawBufferPointer, handingOut handedOut: Int32
    ) -> IOResult {
        precondition(unsafe !buffer.isEmpty, "a descriptor travels with a byte")
        while true {
            // SAFETY: the kernel reads at most `count` bytes of the caller's buffer, and a descriptor
            // of the shim's own frame.
            let count = unsafe pglease_send_descriptor(
                descriptor, buffer.baseAddress, buffer.count, handedOut)
            if count >= 0 { return .bytes(count) }
            if let result = outcome(of: errno) { return result }
        }
    }

    /// Nil: try again.
    static func outcome(of error: Int32) -> IOResult? {
        switch error {
        case EINTR: nil
        case EAGAIN: .wouldBlock
        case EPIPE, ECONNRESET: .closed
        default: .failed(errno: error)
        }
    }

    /// Two ends of a pipe (uv_pipe), blocking, close-on-exec from the first moment: no child that
    /// another thread starts meanwhile inherits one.
    package static func makePipe() throws(UVError) -> (readEnd: Int32, writeEnd: Int32) {
        var ends: (Int32, Int32) = (-1, -1)
        // SAFETY: a tuple of two is laid out as libuv's array of two, which it fills or leaves.
        let status = unsafe withUnsafeMutableBytes(of: &ends) {
            unsafe uv_pipe($0.baseAddress?.assumingMemoryBound(to: uv_file.self), 0, 0)
        }
        try UVError.check(status, "uv_pipe")
        return ends
    }

    /// Two connected Unix sockets (uv_socketpair), non-blocking, close-on-exec from the first moment.
    package static func makeSocketPair() throws(UVError) -> (Int32, Int32) {
        var ends: (Int32, Int32) = (-1, -1)
        let flags = Int32(UV_NONBLOCK_PIPE.rawValue)
        // SAFETY: as above.
        let status = unsafe withUnsafeMutableBytes(of: &ends) {
            unsafe uv_socketpair(
                Int32(SOCK_STREAM.rawValue), 0,
                $0.baseAddress?.assumingMemoryBound(to: uv_os_sock_t.self), flags, flags)
        }
        try UVError.check(status, "uv_socketpair")
        return ends
    }

    /// Another descriptor for the same socket, closed on exec (fcntl(2), F_DUPFD_CLOEXEC). nil: none is left.
    package static func duplicate(_ descriptor: Int32) -> Int32? {
        let copy = fcntl(descriptor, F_DUPFD_CLOEXEC, 0)
        return copy >= 0 ? copy : nil
    }

    /// close(2). On Linux the descriptor is gone whatever the answer is.
    package static func close(_ descriptor: Int32) {
        let status = Glibc.close(descriptor)
        precondition(status == 0 || errno != EBADF, "a descriptor was closed twice")
    }

    /// Ends both directions for every process that shares the socket (shutdown(2)).
    package static func shutdown(_ descriptor: Int32) {
        // ENOTCONN: the peer was faster.
        _ = Glibc.shutdown(descriptor, Int32(SHUT_RDWR))
    }

    /// Whether nothing can be sent to the peer any more (POLLHUP, POLLERR): it has closed its socket, not
    /// only its writing side. Over TCP that is known after a first attempt.
    package static func isHungUp(_ descriptor: Int32) -> Bool {
        var query = pollfd(fd: descriptor, events: 0, revents: 0)
        // SAFETY: the kernel writes the one `revents`.
        guard unsafe poll(&query, 1, 0) > 0 else { return false }
        return query.revents & Int16(POLLHUP | POLLERR) != 0
    }

    package static func isUnixSocket(_ descriptor: Int32) -> Bool {
        var domain: Int32 = 0
        return getOption(descriptor, SOL_SOCKET, SO_DOMAIN, &domain) && domain == AF_UNIX
    }

    /// Non-blocking and closed on exec.
    static func prepare(_ descriptor: Int32) throws(UVError) {
        let flags = fcntl(descriptor, F_GETFL)
        guard flags >= 0, fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0,
            fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0
        else { throw UVError(errno: errno, call: "fcntl") }
    }

    static func getOption<Value: BitwiseCopyable>(
        _ descriptor: Int32, _ level: Int32, _ name: Int32, _ value: inout Value
    ) -> Bool {
        var length = socklen_t(MemoryLayout<Value>.size)
        // SAFETY: the kernel writes at most `length` bytes.
        return unsafe getsockopt(descriptor, level, name, &value, &length) == 0
            && Int(length) == MemoryLayout<Value>.size
    }

    static func setOption(
        _ descriptor: Int32, _ level: Int32, _ name: Int32, _ value: Int32
    ) throws(UVError) {
        var value = value
        let size = socklen_t(MemoryLayout<Int32>.size)
        // SAFETY: the kernel reads `size` bytes.
        if unsafe setsockopt(descriptor, level, name, &value, size) != 0 {
            throw UVError(errno: errno, call: "setsockopt")
        }
    }
}

extension Descriptor {
    /// What a TCP connection is set to. Zero leaves the system's value.
    package struct TCPOptions: Sendable, Equatable {
        package var noDelay = true
        package var keepAlive = true
        package var keepAliveIdleSeconds: Int32 = 0
        package var keepAliveIntervalSeconds: Int32 = 0
        package var keepAliveCount: Int32 = 0
        package var userTimeoutMilliseconds: Int32 = 0
        package var bufferBytes: Int32 = 0

        package init() {}
    }

    package static func setTCPOptions(
        _ descriptor: Int32, _ options: TCPOptions
    ) throws(UVError) {
        let tcp = Int32(IPPROTO_TCP)
        try setOption(descriptor, tcp, TCP_NODELAY, options.noDelay ? 1 : 0)
        try setOption(descriptor, SOL_SOCKET, SO_KEEPALIVE, options.keepAlive ? 1 : 0)
        if options.keepAliveIdleSeconds > 0 {
            try setOption(descriptor, tcp, TCP_KEEPIDLE, options.keepAliveIdleSeconds)
        }
        if options.keepAliveIntervalSeconds > 0 {
            try setOption(descriptor, tcp, TCP_KEEPINTVL, options.keepAliveIntervalSeconds)
        }
        if options.keepAliveCount > 0 {
            try setOption(descriptor, tcp, TCP_KEEPCNT, options.keepAliveCount)
        }
        if options.userTimeoutMilliseconds > 0 {
            try setOption(descriptor, tcp, TCP_USER_TIMEOUT, options.userTimeoutMilliseconds)
        }
        try setBuffers(descriptor, options.bufferBytes)
    }

    /// Fixes the size of the kernel's buffers (SO_RCVBUF, SO_SNDBUF); 0 leaves them alone.
    package static func setBuffers(_ descriptor: Int32, _ bytes: Int32) throws(UVError) {
        guard bytes > 0 else { return }
        try setOption(descriptor, SOL_SOCKET, SO_RCVBUF, bytes)
        try setOption(descriptor, SOL_SOCKET, SO_SNDBUF, bytes)
    }

    /// How many descriptors the process may have (RLIMIT_NOFILE).
    package static var limit: (soft: UInt64, hard: UInt64) {
        var limits = rlimit()
        let status = unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
        precondition(status == 0, "getrlimit refused RLIMIT_NOFILE")
        return (UInt64(limits.rlim_cur), UInt64(limits.rlim_max))
    }

    /// Raises the soft limit to the hard one; answers what is in force afterwards.
    package static func raiseLimit() -> UInt64 {
        let hard = limit.hard
        var limits = rlimit(rlim_cur: rlim_t(hard), rlim_max: rlim_t(hard))
        // Refused where a sandbox forbids it: then the old limit stays and is answered.
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
        return limit.soft
    }
}

// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Connects a non-blocking socket within a deadline.
enum ProbeSocket {
    static func connect(
        to address: ProbeAddress, deadline: ContinuousClock.Instant
    ) throws(ProbeError) -> Int32 {
        switch address {
        case .unix(let path): try connectUnix(path, deadline: deadline)
        case .tcp(let host, let port): try connectTCP(host, port, deadline: deadline)
        }
    }

    /// Returns when one of `events` is there; throws at the deadline.
    static func wait(
        for descriptor: Int32, events: Int32, deadline: ContinuousClock.Instant
    ) throws(ProbeError) {
        while true {
            let left = (deadline - .now).components
            let milliseconds = left.seconds * 1000 + left.attoseconds / 1_000_000_000_000_000
            var entry = pollfd(fd: descriptor, events: Int16(events), revents: 0)
            let count = poll(&entry, 1, Int32(clamping: max(0, milliseconds + 1)))
            if count > 0 { return }
            if count == 0 { throw .noAnswer(reason: "no answer in time") }
            if errno != EINTR { throw .noAnswer(reason: String(cString: strerror(errno))) }
        }
    }

    private static func connectUnix(
        _ path: String, deadline: ContinuousClock.Instant
    ) throws(ProbeError) -> Int32 {
        guard let address = UnixSocketAddress(path) else {
            throw .noAnswer(reason: "a Unix socket's name has 1 to 107 bytes")
        }
        return try connect(family: AF_UNIX, deadline: deadline) { address.connect($0) }
    }

    /// Tries each address of the name; the last failure is told.
    private static func connectTCP(
        _ host: String, _ port: UInt16, deadline: ContinuousClock.Instant
    ) throws(ProbeError) -> Int32 {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, String(port), &hints, &list)
        guard status == 0 else { throw .noAnswer(reason: String(cString: gai_strerror(status))) }
        defer { freeaddrinfo(list) }
        var failure = ProbeError.noAnswer(reason: "the name has no address")
        var entry = list
        while let current = entry?.pointee {
            do {
                return try connect(family: current.ai_family, deadline: deadline) {
                    Glibc.connect($0, current.ai_addr, current.ai_addrlen)
                }
            } catch {
                failure = error
            }
            entry = current.ai_next
        }
        throw failure
    }

    private static func connect(
        family: Int32, deadline: ContinuousClock.Instant, begin: (Int32) -> Int32
    ) throws(ProbeError) -> Int32 {
        let type = SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue
        let descriptor = socket(family, Int32(type), 0)
        guard descriptor >= 0 else { throw .noAnswer(reason: String(cString: strerror(errno))) }
        do throws(ProbeError) {
            if begin(descriptor) != 0 {
                // EAGAIN of a Unix socket: its backlog is full, and no event would tell the end.
                guard errno == EINPROGRESS else {
                    throw .noAnswer(reason: String(cString: strerror(errno)))
                }
                try wait(for: descriptor, events: POLLOUT, deadline: deadline)
                try checkOutcome(of: descriptor)
            }
            return descriptor
        } catch {
            close(descriptor)
            throw error
        }
    }

    private static func checkOutcome(of descriptor: Int32) throws(ProbeError) {
        var code: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length)
        guard code == 0 else { throw .noAnswer(reason: String(cString: strerror(code))) }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Listening sockets that the service manager opened and hands over (systemd socket units).
package enum SocketActivation {
    /// The first descriptor that a manager hands over, by protocol.
    package static let firstDescriptor: Int32 = 3

    /// The sockets for this process: non-blocking and closed on exec from here on. Empty when the
    /// manager handed over none, or meant another process.
    package static func adopt(
        environment: [String: String], processID: Int32 = getpid(),
        firstDescriptor: Int32 = firstDescriptor
    ) throws(SupervisionError) -> [Int32] {
        guard environment["LISTEN_PID"] == String(processID),
            let text = environment["LISTEN_FDS"]
        else { return [] }
        guard let count = Int32(text), count >= 0, count <= 1024 else {
            throw .listenDescriptors(value: text)
        }
        var descriptors: [Int32] = []
        for number in firstDescriptor..<firstDescriptor + count {
            try check(number)
            descriptors.append(number)
        }
        for number in descriptors {
            _ = fcntl(number, F_SETFD, FD_CLOEXEC)
            _ = fcntl(number, F_SETFL, fcntl(number, F_GETFL) | O_NONBLOCK)
        }
        return descriptors
    }

    /// The name of the sockets at which figures are served (`metrics_listen`), in the unit's FileDescriptorName=.
    package static let metricsName = "metrics"

    /// Those of `sockets` that are called so, by LISTEN_FDNAMES.
    package static func named(
        _ name: String, among sockets: [Int32], environment: [String: String],
        firstDescriptor: Int32 = firstDescriptor
    ) -> [Int32] {
        let names = (environment["LISTEN_FDNAMES"] ?? "").split(
            separator: ":", omittingEmptySubsequences: false)
        return sockets.filter {
            let index = Int($0 - firstDescriptor)
            return names.indices.contains(index) && names[index] == name
        }
    }

    private static func check(_ number: Int32) throws(SupervisionError) {
        guard let type = option(SO_TYPE, of: number) else {
            throw .adoptedDescriptor(number: number, reason: "not an open socket")
        }
        guard type == Int32(SOCK_STREAM.rawValue) else {
            throw .adoptedDescriptor(
                number: number, reason: "not a stream socket: use ListenStream= in the socket unit")
        }
        guard option(SO_ACCEPTCONN, of: number) == 1 else {
            throw .adoptedDescriptor(
                number: number, reason: "does not listen: use Accept=no in the socket unit")
        }
        guard let domain = option(SO_DOMAIN, of: number),
            [AF_UNIX, AF_INET, AF_INET6].contains(domain)
        else {
            throw .adoptedDescriptor(number: number, reason: "neither a Unix nor a TCP socket")
        }
    }

    private static func option(_ name: Int32, of descriptor: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        guard getsockopt(descriptor, SOL_SOCKET, name, &value, &length) == 0 else { return nil }
        return value
    }
}

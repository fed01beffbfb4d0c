// SPDX-License-Identifier: Apache-2.0

import Glibc
import LibUV
import Testing

/// A listener that keeps what it accepts.
final class Host {
    var accepted: [Int32] = []
    var errors: [UVError] = []
    private(set) var listener: Listener?

    init(_ loop: EventLoop, _ address: Listener.Address, mode: UInt16? = nil) throws {
        listener = try Listener(
            loop: loop, address: address, mode: mode,
            onAccept: { [unowned self] in accepted.append($0) },
            onError: { [unowned self] in errors.append($0) })
    }

    init(_ loop: EventLoop, adopting descriptor: Int32) throws {
        listener = try Listener(
            loop: loop, adopting: descriptor, onAccept: { [unowned self] in accepted.append($0) },
            onError: { [unowned self] in errors.append($0) })
    }

    func close() {
        listener?.close()
        listener = nil
        for descriptor in accepted { Descriptor.close(descriptor) }
        accepted = []
    }
}

/// A blocking client socket; -1 when refused.
func connectUnix(_ path: String) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var name = Array(path.utf8)
    let isAbstract = name[0] == UInt8(ascii: "@")
    if isAbstract { name[0] = 0 } else { name.append(0) }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
    let length = socklen_t(2 + name.count)
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    let status = withUnsafePointer(to: address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, length)
        }
    }
    if status == 0 { return descriptor }
    close(descriptor)
    return -1
}

func connectLoopback(_ port: UInt16) -> Int32 {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = port.bigEndian
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    let status = withUnsafePointer(to: address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
    if status == 0 { return descriptor }
    close(descriptor)
    return -1
}

@Suite(.timeLimit(.minutes(1)))
struct ListenerTests {
    @Test func aUnixSocketIsAcceptedFromAndRemovedAtTheEnd() throws {
        try withLoop { loop in
            let folder = try TemporaryFolder()
            let path = folder.path + "/.s.PGSQL.6432"
            let host = try Host(loop, .unix(path: path), mode: 0o600)
            var status = stat()
            #expect(stat(path, &status) == 0)
            #expect(status.st_mode & 0o777 == 0o600)

            let clients = (0..<3).map { _ in connectUnix(path) }
            #expect(clients.allSatisfy { $0 >= 0 })
            while host.accepted.count < 3 { loop.runOnce() }
            let credentials = PeerCredentials(descriptor: host.accepted[0])
            #expect(credentials?.processID == getpid())
            #expect(credentials?.userID == getuid())
            #expect(credentials?.groupID == getgid())
            let mark = try #require(ProcessIdentity.mark(of: getpid()))
            #expect(
                credentials?.process
                    == ProcessIdentity(processID: getpid(), userID: getuid(), mark: mark))
            #expect(Descriptor.isUnixSocket(host.accepted[0]))
            #expect(read(from: host.accepted[0]).0 == .wouldBlock)
            #expect(fcntl(host.accepted[0], F_GETFD) == FD_CLOEXEC)

            for client in clients { close(client) }
            host.close()
            #expect(stat(path, &status) != 0)
            #expect(stat(path + ".lock", &status) != 0)
            #expect(host.errors.isEmpty)
        }
    }

    @Test func aLiveSocketIsNotStolen() throws {
        try withLoop { loop in
            let folder = try TemporaryFolder()
            let path = folder.path + "/socket"
            let first = try Host(loop, .unix(path: path))
            let error = #expect(throws: UVError.self) { try Host(loop, .unix(path: path)) }
            #expect(error?.name == "EADDRINUSE")
            #expect(error?.message.contains("another process listens on \(path)") == true)

            // Somebody who keeps no lock, as PostgreSQL itself.
            unlink(path + ".lock")
            let again = #expect(throws: UVError.self) { try Host(loop, .unix(path: path)) }
            #expect(again?.message.contains("it accepted a connection") == true)

            let client = connectUnix(path)
            #expect(client >= 0)
            close(client)
            first.close()
        }
    }

    @Test(arguments: ["target", "nowhere/target"])
    func aLockThatIsALinkIsAnError(target: String) throws {
        try withLoop { loop in
            let folder = try TemporaryFolder()
            let path = folder.path + "/socket"
            #expect(symlink(folder.path + "/" + target, path + ".lock") == 0)
            let error = #expect(throws: UVError.self) { try Host(loop, .unix(path: path)) }
            #expect(error?.message == "\(path).lock is a symbolic link: remove it")
            var status = stat()
            #expect(stat(folder.path + "/target", &status) != 0)
        }
    }

    @Test func aStaleSocketIsReplaced() throws {
        try withLoop { loop in
            let folder = try TemporaryFolder()
            let path = folder.path + "/socket"
            let dead = socket(
                AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
            let bound = withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(dead, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            try #require(bound == 0)
            close(dead)
            #expect(connectUnix(path) == -1)

            let host = try Host(loop, .unix(path: path))
            let client = connectUnix(path)
            #expect(client >= 0)
            while host.accepted.isEmpty { loop.runOnce() }
            close(client)
            host.close()
        }
    }

    @Test func aFileThatIsNoSocketIsLeftAlone() throws {
        try withLoop { loop in
            let folder = try TemporaryFolder()
            let path = folder.path + "/precious"
            close(open(path, O_CREAT | O_WRONLY, 0o600))
            let error = #expect(throws: UVError.self) { try Host(loop, .unix(path: path)) }
            #expect(error?.message.contains("is no socket") == true)
            var status = stat()
            #expect(stat(path, &status) == 0)
            let long = folder.path + "/" + String(repeating: "x", count: 200)
            let tooLong = #expect(throws: UVError.self) { try Host(loop, .unix(path: long)) }
            #expect(tooLong?.name == "ENAMETOOLONG")
        }
    }

    @Test func anAbstractNameNeedsNoFile() throws {
        try withLoop { loop in
            let name = "@pglease-test-\(getpid())/.s.PGSQL.6432"
            let host = try Host(loop, .unix(path: name))
            let error = #expect(throws: UVError.self) { try Host(loop, .unix(path: name)) }
            #expect(error?.name == "EADDRINUSE")
            let client = connectUnix(name)
            #expect(client >= 0)
            while host.accepted.isEmpty { loop.runOnce() }
            close(client)
            host.close()
            #expect(connectUnix(name) == -1)
        }
    }

    @Test func tcpListensOnBothFamilies() throws {
        try withLoop { loop in
            let host = try Host(loop, .tcp(host: "*", port: 0))
            let addresses = try #require(host.listener?.tcpAddresses)
            #expect(Set(addresses.map(\.port)).count == 1)
            #expect(addresses.contains { $0.host == "0.0.0.0" })
            let client = connectLoopback(addresses[0].port)
            #expect(client >= 0)
            while host.accepted.isEmpty { loop.runOnce() }
            #expect(SocketAddress(peerOf: host.accepted[0])?.host == "127.0.0.1")
            #expect(PeerCredentials(descriptor: host.accepted[0]) == nil)
            #expect(!Descriptor.isUnixSocket(host.accepted[0]))
            var options = Descriptor.TCPOptions()
            options.keepAliveIdleSeconds = 30
            options.keepAliveIntervalSeconds = 5
            options.keepAliveCount = 4
            options.userTimeoutMilliseconds = 20_000
            options.bufferBytes = 20_000
            try Descriptor.setTCPOptions(host.accepted[0], options)
            var value: Int32 = 0
            var size = socklen_t(4)
            getsockopt(host.accepted[0], Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, &value, &size)
            #expect(value == 20_000)
            // The kernel doubles what it is told.
            getsockopt(host.accepted[0], SOL_SOCKET, SO_RCVBUF, &value, &size)
            #expect(value == 40_000)
            close(client)

            let taken = #expect(throws: UVError.self) {
                try Host(loop, .tcp(host: "127.0.0.1", port: addresses[0].port))
            }
            #expect(taken?.name == "EADDRINUSE")
            host.close()
        }
    }

    @Test func aNameIsListenedOnAndAForeignAddressIsNot() throws {
        try withLoop { loop in
            let host = try Host(loop, .tcp(host: "localhost", port: 0))
            let addresses = try #require(host.listener?.tcpAddresses)
            #expect(addresses.contains { ["127.0.0.1", "::1"].contains($0.host) })
            host.close()
            let error = #expect(throws: UVError.self) {
                try Host(loop, .tcp(host: "192.0.2.1", port: 0))
            }
            #expect(error?.name == "EADDRNOTAVAIL")
            #expect(error?.message.hasPrefix("cannot listen on 192.0.2.1, port 0: ") == true)
        }
    }

    @Test func aPausedListenerLeavesItsClientsInTheQueue() throws {
        try withLoop { loop in
            let folder = try TemporaryFolder()
            let host = try Host(loop, .unix(path: folder.path + "/socket"))
            host.listener?.pause()
            let client = connectUnix(folder.path + "/socket")
            #expect(client >= 0)
            loop.runNoWait()
            #expect(host.accepted.isEmpty)
            host.listener?.resume()
            loop.runOnce()
            #expect(host.accepted.count == 1)
            close(client)
            host.close()
        }
    }

    @Test func aListenerMayBeClosedWhileItAccepts() throws {
        try withLoop { loop in
            let folder = try TemporaryFolder()
            let path = folder.path + "/socket"
            var accepted = 0
            var listener: Listener?
            listener = try Listener(
                loop: loop, address: .unix(path: path),
                onAccept: { descriptor in
                    accepted += 1
                    Descriptor.close(descriptor)
                    listener?.close()
                }, onError: { _ in })
            let clients = (0..<2).map { _ in connectUnix(path) }
            loop.run()
            #expect(accepted == 1)
            for client in clients { close(client) }
            listener = nil
        }
    }

    @Test func anInheritedSocketIsServed() throws {
        try withLoop { loop in
            let descriptor = socket(
                AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            let refused = #expect(throws: UVError.self) { try Host(loop, adopting: descriptor) }
            #expect(refused?.message.contains("is no listening socket") == true)
            try #require(listen(descriptor, 8) == 0)
            let host = try Host(loop, adopting: descriptor)
            let port = try #require(host.listener?.tcpAddresses.first?.port)
            let client = connectLoopback(port)
            #expect(client >= 0)
            while host.accepted.isEmpty { loop.runOnce() }
            close(client)
            host.close()
            #expect(connectLoopback(port) == -1)
        }
    }

    @Test func withoutDescriptorsClientsAreTurnedAwayAndTheListenerRecovers() async throws {
        // In a process of its own: the limit counts for all tests.
        await #expect(processExitsWith: .success) {
            try withLoop { loop in
                let folder = try TemporaryFolder()
                let path = folder.path + "/socket"
                let host = try Host(loop, .unix(path: path))
                var refused = 0
                host.listener?.onRefuse = { descriptor in
                    refused += 1
                    _ = write("full", to: descriptor)
                }
                let clients = (0..<3).map { _ in connectUnix(path) }
                var hoard: [Int32] = []
                var limits = rlimit()
                getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
                limits.rlim_cur = 64
                setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limits)
                while true {
                    let descriptor = dup(clients[0])
                    if descriptor < 0 { break }
                    hoard.append(descriptor)
                }
                loop.runOnce()
                try #require(refused == 3)
                try #require(host.accepted.isEmpty)
                try #require(host.errors.map(\.name) == ["EMFILE"])
                for client in clients { try #require(read(from: client).1 == "full") }
                for descriptor in hoard + clients { close(descriptor) }

                let late = connectUnix(path)
                while host.accepted.isEmpty { loop.runOnce() }
                try #require(host.errors.count == 1)
                close(late)
                host.close()
            }
        }
    }

    @Test func theLimitOfDescriptorsIsRaised() {
        let before = Descriptor.limit
        #expect(before.soft <= before.hard)
        #expect(Descriptor.raiseLimit() == before.hard)
        #expect(Descriptor.limit.soft == before.hard)
    }
}

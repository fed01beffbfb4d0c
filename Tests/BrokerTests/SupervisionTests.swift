// SPDX-License-Identifier: Apache-2.0

import Broker
import Glibc
import Testing

/// The service manager's side of the notification socket.
private final class NotifySocket {
    let descriptor: Int32
    let path: String

    init(path: String) {
        self.path = path
        descriptor = socket(
            AF_UNIX,
            Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
                | Int32(SOCK_CLOEXEC.rawValue), 0)
        precondition(descriptor >= 0)
        let status = withUnixAddress(path) { bind(descriptor, $0, $1) }
        precondition(status == 0, String(cString: strerror(errno)))
    }

    deinit {
        close(descriptor)
        if path.hasPrefix("/") { unlink(path) }
    }

    func receive() -> String? {
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        return count < 0 ? nil : String(decoding: bytes[..<count], as: UTF8.self)
    }
}

private func withUnixAddress(
    _ path: String, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Int32
) -> Int32 {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    var bytes = Array(path.utf8)
    if path.hasPrefix("@") { bytes[0] = 0 }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
    let length = 2 + bytes.count + (path.hasPrefix("@") ? 0 : 1)
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, socklen_t(length)) }
    }
}

@Suite("Service manager")
struct SupervisionTests {
    private static let paths = [
        "/tmp/pglease-notify-\(getpid()).sock", "@pglease-notify-\(getpid())",
    ]

    @Test("every state is told, on a path and on an abstract socket", arguments: paths)
    func notifications(path: String) throws {
        let manager = NotifySocket(path: path)
        let notifier = try #require(try ServiceNotifier(environment: ["NOTIFY_SOCKET": path]))
        #expect(notifier.ready(status: "serving\non 2 sockets"))
        #expect(manager.receive() == "READY=1\nSTATUS=serving on 2 sockets\nMAINPID=\(getpid())")
        #expect(notifier.reloading())
        let reloading = try #require(manager.receive())
        #expect(reloading.contains(/\ARELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*\z/))
        #expect(notifier.status("10 clients"))
        #expect(manager.receive() == "STATUS=10 clients")
        #expect(notifier.watchdog())
        #expect(manager.receive() == "WATCHDOG=1")
        #expect(notifier.stopping(status: "draining"))
        #expect(manager.receive() == "STOPPING=1\nSTATUS=draining")
        #expect(manager.receive() == nil)
    }

    @Test("no manager: no notifier; a name that cannot be: an error that says why")
    func absence() throws {
        #expect(try ServiceNotifier(environment: [:]) == nil)
        #expect(try ServiceNotifier(environment: ["NOTIFY_SOCKET": ""]) == nil)
        for path in ["relative", "/nowhere/at/all", "/" + String(repeating: "x", count: 200)] {
            #expect(throws: SupervisionError.self) {
                try ServiceNotifier(environment: ["NOTIFY_SOCKET": path])
            }
        }
    }

    @Test("a manager that does not read costs a status line, not the loop")
    func deafManager() throws {
        let manager = NotifySocket(path: "@pglease-deaf-\(getpid())")
        let notifier = try #require(
            try ServiceNotifier(environment: ["NOTIFY_SOCKET": manager.path]))
        var refused = false
        for _ in 0..<100_000 where !refused { refused = !notifier.status("still here") }
        #expect(refused)
        #expect(manager.receive() == "STATUS=still here")
    }

    @Test("the watchdog's interval is half of what is allowed, for this process only")
    func watchdogInterval() throws {
        let manager = NotifySocket(path: "@pglease-watchdog-\(getpid())")
        func interval(_ extra: [String: String]) throws -> Duration? {
            var environment = extra
            environment["NOTIFY_SOCKET"] = manager.path
            return try ServiceNotifier(environment: environment, processID: 7)?.watchdogInterval
        }
        #expect(try interval([:]) == nil)
        #expect(try interval(["WATCHDOG_USEC": "30000000"]) == .seconds(15))
        #expect(try interval(["WATCHDOG_USEC": "2000", "WATCHDOG_PID": "7"]) == .milliseconds(1))
        #expect(try interval(["WATCHDOG_USEC": "2000", "WATCHDOG_PID": "8"]) == nil)
        #expect(try interval(["WATCHDOG_USEC": "soon"]) == nil)
    }

    @Test("listening sockets are taken over: non-blocking, closed on exec")
    func adoption() throws {
        let listener = socket(
            AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(listener) }
        #expect(withUnixAddress("@pglease-adopt-\(getpid())") { bind(listener, $0, $1) } == 0)
        let environment = ["LISTEN_PID": "7", "LISTEN_FDS": "1"]

        #expect(throws: SupervisionError.self, "bound, but does not listen") {
            try SocketActivation.adopt(
                environment: environment, processID: 7, firstDescriptor: listener)
        }
        #expect(listen(listener, 1) == 0)
        let adopted = try SocketActivation.adopt(
            environment: environment, processID: 7, firstDescriptor: listener)
        #expect(adopted == [listener])
        #expect(fcntl(listener, F_GETFD) & FD_CLOEXEC != 0)
        #expect(fcntl(listener, F_GETFL) & O_NONBLOCK != 0)
    }

    @Test("descriptors meant for another process are left alone; wrong ones are named")
    func adoptionRefused() throws {
        #expect(try SocketActivation.adopt(environment: [:]).isEmpty)
        #expect(
            try SocketActivation.adopt(
                environment: ["LISTEN_PID": "8", "LISTEN_FDS": "1"], processID: 7
            ).isEmpty)
        for count in ["-1", "many", "99999999999"] {
            #expect(throws: SupervisionError.listenDescriptors(value: count)) {
                try SocketActivation.adopt(
                    environment: ["LISTEN_PID": "7", "LISTEN_FDS": count], processID: 7)
            }
        }
        let datagram = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        defer { close(datagram) }
        #expect(throws: SupervisionError.self) {
            try SocketActivation.adopt(
                environment: ["LISTEN_PID": "7", "LISTEN_FDS": "1"], processID: 7,
                firstDescriptor: datagram)
        }
    }
}

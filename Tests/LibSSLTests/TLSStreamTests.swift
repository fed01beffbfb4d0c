// SPDX-License-Identifier: Apache-2.0

import Foundation
import Glibc
import LibSSL
import Testing

/// A session with `openssl s_client` at the other end of a socket.
final class TLSPeer {
    let stream: TLSStream
    let own: Int32
    private let process = Process()
    let input = Pipe()
    let output = Pipe()

    /// The program connects to a socket that is ours.
    init(_ context: TLSContext, _ words: [String]) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port: UInt16 = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(listener, $0, length)
                _ = listen(listener, 1)
                _ = getsockname(listener, $0, &length)
            }
            return UInt16(bigEndian: pointer.pointee.sin_port)
        }
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            ["openssl", "s_client", "-connect", "127.0.0.1:\(port)", "-quiet", "-no_ign_eof"]
            + words
        process.standardInput = input
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        own = accept(listener, nil, nil)
        _ = fcntl(own, F_SETFL, fcntl(own, F_GETFL) | O_NONBLOCK)
        stream = try TLSStream(context, descriptor: own)
    }

    deinit {
        close(own)
        if process.isRunning { process.terminate() }
        process.waitUntilExit()
    }

    /// Waits for the socket; false if nothing comes for long.
    @discardableResult
    func wait(_ events: Int32) -> Bool {
        var query = pollfd(fd: own, events: Int16(events), revents: 0)
        return poll(&query, 1, 60_000) > 0
    }

    func handshake() -> TLSHandshake {
        while true {
            let result = stream.handshake()
            guard result == .unfinished else { return result }
            guard wait(stream.awaits.contains(.roomToRead) ? POLLOUT : POLLIN) else {
                return .failed("nothing came")
            }
        }
    }

    /// Reads until there is something.
    func read(_ limit: Int = 65_536) -> (TLSResult, [UInt8]) {
        var bytes = [UInt8](repeating: 0, count: limit)
        while true {
            let result = bytes.withUnsafeMutableBytes { stream.read(into: $0) }
            if case .bytes(let count) = result { return (result, Array(bytes[..<count])) }
            guard result == .wouldBlock, wait(POLLIN) else { return (result, []) }
        }
    }
}

@Suite("One TLS session", .serialized)
struct TLSStreamTests {
    private let files: Certificates

    init() throws {
        files = try Certificates()
        try files.make("server", subject: "/CN=localhost")
    }

    private func context(_ change: (inout TLSServerOptions) -> Void = { _ in }) throws -> TLSContext
    {
        var options = TLSServerOptions(
            certificateFile: files.path("server.crt"), keyFile: files.path("server.key"))
        change(&options)
        return try TLSContext(options)
    }

    @Test("Bytes go both ways, the end is told of, and the session is described")
    func bothWays() throws {
        let peer = try TLSPeer(try context(), [])
        #expect(peer.handshake() == .done)
        #expect(peer.stream.summary.hasPrefix("TLSv1.3/TLS_"))
        #expect(peer.stream.peerName == .noCertificate)
        #expect(!peer.stream.hasNamedProtocol)
        try peer.input.fileHandleForWriting.write(contentsOf: Data("hello\n".utf8))
        #expect(peer.read().1 == Array("hello\n".utf8))
        let answer = Array("good day\n".utf8)
        #expect(answer.withUnsafeBytes { peer.stream.write($0) } == .bytes(answer.count))
        #expect(try peer.output.fileHandleForReading.read(upToCount: 9) == Data(answer))
        try peer.input.fileHandleForWriting.close()
        #expect(peer.read().0 == .closed)
        #expect(peer.read().0 == .closed)
        peer.stream.close()
        peer.stream.close()
    }

    @Test("TLS 1.2 says which curve its keys were exchanged over, if any")
    func summaries() throws {
        let curve = try TLSPeer(try context(), ["-tls1_2", "-groups", "P-256"])
        #expect(curve.handshake() == .done)
        #expect(curve.stream.summary.hasPrefix("TLSv1.2/ECDHE-ECDSA-"))
        #expect(curve.stream.summary.hasSuffix("/ECDH=prime256v1"))
        try files.make("rsa", subject: "/CN=localhost", key: ["rsa:2048"])
        let other = try context {
            $0.certificateFile = files.path("rsa.crt")
            $0.keyFile = files.path("rsa.key")
            $0.curve = .none
            $0.versions = [.tls12]
        }
        let none = try TLSPeer(other, [])
        #expect(none.handshake() == .done)
        #expect(none.stream.summary == "TLSv1.2/DHE-RSA-AES256-GCM-SHA384")
    }

    @Test("The end point is the certificate's hash, as openssl computes it")
    func endPoint() throws {
        for (name, key, kind) in [
            ("a", ["rsa:2048", "-sha256"], "-sha256"), ("b", ["rsa:2048"], "-sha512"),
        ] {
            try files.run(
                ["req", "-x509", "-newkey"] + [key[0]] + [
                    kind, "-nodes", "-subj", "/CN=x", "-keyout", "\(name).key", "-out",
                    "\(name).crt",
                ])
            let context = try context {
                $0.certificateFile = files.path("\(name).crt")
                $0.keyFile = files.path("\(name).key")
            }
            let peer = try TLSPeer(context, [])
            #expect(peer.handshake() == .done)
            try files.run("x509", "-in", "\(name).crt", "-outform", "DER", "-out", "der")
            let hash = try files.run("dgst", kind, "-binary", "der")
            #expect(peer.stream.serverEndPoint == Array(hash))
        }
        try files.make("ed", subject: "/CN=localhost", by: "ca", key: ["ed25519"])
        try files.run(
            "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=x", "-keyout", "e.key",
            "-out", "e.crt")
        let peer = try TLSPeer(
            try context {
                $0.certificateFile = files.path("e.crt")
                $0.keyFile = files.path("e.key")
            }, [])
        #expect(peer.handshake() == .done)
        #expect(peer.stream.serverEndPoint == nil)
    }

    @Test("ALPN: the name of PostgreSQL's protocol, or none")
    func protocols() throws {
        let named = try TLSPeer(try context(), ["-alpn", "h2,postgresql"])
        #expect(named.handshake() == .done)
        #expect(named.stream.hasNamedProtocol)
        let other = try TLSPeer(try context(), ["-alpn", "h2,http/1.1"])
        guard case .failed(let reason) = other.handshake() else {
            Issue.record("a client of another protocol was let in")
            return
        }
        #expect(reason.contains("protocol"))
    }

    @Test("Versions that are not offered, and what is not TLS at all")
    func refused() throws {
        let old = try TLSPeer(try context { $0.versions = [.tls13] }, ["-tls1_2"])
        guard case .failed = old.handshake() else {
            Issue.record("TLS 1.2 was let in")
            return
        }
        // A context for 1.2 only takes what is offered of it.
        let lower = try TLSPeer(try context { $0.versions = [.tls12] }, [])
        #expect(lower.handshake() == .done)
        #expect(lower.stream.summary.hasPrefix("TLSv1.2/"))
    }

    private func asking(_ strictness: TLSServerOptions.ClientCertificate) throws -> TLSContext {
        try context {
            $0.authorityFile = files.path("ca.crt")
            $0.clientCertificate = strictness
        }
    }

    private func showing(_ name: String) -> [String] {
        ["-cert", files.path("\(name).crt"), "-key", files.path("\(name).key")]
    }

    @Test(
        "Who shows a certificate is known by its name; a bad one is refused, whether asked for or not"
    )
    func certificates() throws {
        try files.make("client", subject: "/O=x/CN=Jürgen")
        try files.make("nameless", subject: "/O=x")
        try files.make("late", subject: "/CN=app", days: -1)
        try files.makeAuthority("stranger")
        try files.make("strange", subject: "/CN=app", by: "stranger")
        for strictness in [TLSServerOptions.ClientCertificate.optional, .required] {
            let context = try asking(strictness)
            let good = try TLSPeer(context, showing("client"))
            #expect(good.handshake() == .done)
            #expect(good.stream.peerName == .name("Jürgen"))
            let nameless = try TLSPeer(context, showing("nameless"))
            #expect(nameless.handshake() == .done)
            #expect(nameless.stream.peerName == .nameless)
            for (bad, word) in [("late", "expired"), ("strange", "local issuer")] {
                let peer = try TLSPeer(context, showing(bad))
                guard case .failed(let reason) = peer.handshake() else {
                    Issue.record("\(bad) was let in")
                    continue
                }
                #expect(reason.contains(word))
            }
            let none = try TLSPeer(context, [])
            #expect((none.handshake() == .done) == (strictness == .optional))
        }
    }

    @Test("More than fits is written as the socket takes it, from wherever the rest lies")
    func partialWrites() throws {
        let peer = try TLSPeer(try context(), [])
        #expect(peer.handshake() == .done)
        // More than the kernel keeps on both sides of a socket.
        let whole = (0..<24_000_000).map { UInt8(truncatingIfNeeded: $0 >> 8) }
        var rest = whole[...]
        var stops = 0
        let reader = Reader(peer.output.fileHandleForReading, count: whole.count)
        while !rest.isEmpty {
            // A copy each time: the bytes have moved.
            let copy = Array(rest.prefix(1 << 20))
            switch copy.withUnsafeBytes({ peer.stream.write($0) }) {
            case .bytes(let count): rest = rest.dropFirst(count)
            case .wouldBlock:
                stops += 1
                reader.start()
                peer.wait(POLLOUT)
            case let other:
                Issue.record("\(other)")
                return
            }
        }
        #expect(stops > 0)
        #expect(reader.result() == whole)
    }

    @Test("One record is read in pieces; the rest is announced by nothing but hasBufferedInput")
    func smallBuffers() throws {
        let peer = try TLSPeer(try context(), [])
        #expect(peer.handshake() == .done)
        let sent = Array("0123456789\n".utf8)
        try peer.input.fileHandleForWriting.write(contentsOf: Data(sent))
        var received = peer.read(4).1
        #expect(received.count == 4)
        while peer.stream.hasBufferedInput { received += peer.read(4).1 }
        #expect(received == sent)
    }
}

/// Reads from a pipe on a thread of its own, once it is started.
private final class Reader: @unchecked Sendable {
    private let descriptor: Int32
    private let count: Int
    private let done = DispatchSemaphore(value: 0)
    private var isStarted = false
    private var bytes: [UInt8] = []

    init(_ handle: FileHandle, count: Int) {
        descriptor = handle.fileDescriptor
        self.count = count
    }

    func start() {
        guard !isStarted else { return }
        isStarted = true
        Thread.detachNewThread { [self] in
            var chunk = [UInt8](repeating: 0, count: 65_536)
            while bytes.count < count {
                let taken = read(descriptor, &chunk, chunk.count)
                if taken <= 0 { break }
                bytes += chunk[..<taken]
            }
            done.signal()
        }
    }

    func result() -> [UInt8] {
        done.wait()
        return bytes
    }
}

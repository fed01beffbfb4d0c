// SPDX-License-Identifier: Apache-2.0

import Glibc
import LibUV
import StatusHTTP
import Testing

/// Lifetimes: what is open when the server closes, and that the loop can be closed afterwards.
@Suite struct HTTPServerTests {
    private let path = "/tmp/pgle-http-\(getpid())-\(UInt32.random(in: 0 ... .max)).sock"

    private func serve(
        _ loop: EventLoop, limits: HTTPServer.Limits = HTTPServer.Limits(),
        _ handler: @escaping (HTTPRequest) -> HTTPResponse = { .text($0.path) }
    ) throws -> HTTPServer {
        try HTTPServer(
            loop: loop, address: .unix(path: path), limits: limits, onError: { _ in },
            handler: handler)
    }

    private func connect() -> Int32 {
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        precondition(status == 0)
        return descriptor
    }

    private func say(_ text: String, on descriptor: Int32) {
        _ = text.withCString { write(descriptor, $0, strlen($0)) }
    }

    /// What comes until the other side closes; the loop turns meanwhile.
    private func hear(_ loop: EventLoop, _ descriptor: Int32) -> String {
        var said: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while true {
            loop.runNoWait()
            let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
            if count == 0 { break }
            if count > 0 { said += buffer[..<count] }
        }
        close(descriptor)
        return String(decoding: said, as: UTF8.self)
    }

    @Test func anAnswerAndTheEnd() throws {
        let loop = try EventLoop()
        let server = try serve(loop)
        let one = connect()
        say("GET /there?x=1 HTTP/1.1\r\nHost: x\r\n\r\n", on: one)
        let said = hear(loop, one)
        #expect(said.hasPrefix("HTTP/1.1 200 OK\r\n") && said.hasSuffix("\r\n\r\n/there\n"))
        #expect(said.contains("Connection: close\r\n"))
        server.close()
        server.close()
        #expect(loop.close())
        #expect(access(path, F_OK) != 0)
    }

    @Test func closedInTheMiddleOfRequests() throws {
        let loop = try EventLoop()
        let server = try serve(loop)
        let clients = (0..<5).map { _ in connect() }
        for one in clients { say("GET / HT", on: one) }
        while server.connectionCount < 5 { loop.runOnce() }
        server.close()
        #expect(loop.close())
        for one in clients { close(one) }
    }

    @Test func whoTakesLongestMakesRoom() throws {
        let loop = try EventLoop()
        var limits = HTTPServer.Limits()
        limits.connections = 3
        let server = try serve(loop, limits: limits)
        let slow = (0..<3).map { _ in connect() }
        while server.connectionCount < 3 { loop.runOnce() }
        let quick = connect()
        say("GET /quick HTTP/1.1\r\nHost: x\r\n\r\n", on: quick)
        #expect(hear(loop, quick).hasSuffix("/quick\n"))
        #expect(hear(loop, slow[0]) == "")
        #expect(server.connectionCount == 2)
        server.close()
        #expect(loop.close())
        close(slow[1])
        close(slow[2])
    }

    @Test func aRequestThatTakesTooLong() throws {
        let loop = try EventLoop()
        var limits = HTTPServer.Limits()
        limits.requestTime = 20_000_000
        let server = try serve(loop, limits: limits)
        let one = connect()
        say("GET / HTTP/1.1\r\n", on: one)
        #expect(!hear(loop, one).contains("200"))
        #expect(server.connectionCount == 0)
        server.close()
        #expect(loop.close())
    }

    @Test func anAnswerThatNobodyReads() throws {
        let loop = try EventLoop()
        var limits = HTTPServer.Limits()
        limits.answerTime = 20_000_000
        var wasAsked = false
        let server = try serve(loop, limits: limits) { _ in
            wasAsked = true
            return HTTPResponse(
                contentType: "text/plain", body: Array(repeating: 0x78, count: 4_000_000))
        }
        let one = connect()
        say("GET / HTTP/1.1\r\nHost: x\r\n\r\n", on: one)
        // On a busy machine it may come and be cut off in one turn of the loop.
        while !wasAsked || server.connectionCount > 0 { loop.runOnce() }
        server.close()
        #expect(loop.close())
        close(one)
    }

    @Test func aPlaceThatIsTaken() throws {
        let loop = try EventLoop()
        let server = try serve(loop)
        #expect(throws: UVError.self) { try serve(loop) }
        server.close()
        #expect(loop.close())
    }
}

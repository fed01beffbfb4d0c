// SPDX-License-Identifier: Apache-2.0

import Glibc
import LibPQ
import LibUV
import Testing

@Suite(.timeLimit(.minutes(2)))
struct StreamTests {
    let server: TemporaryPostgres

    init() throws { server = try TemporaryPostgres.shared.get() }

    private func connect(_ loop: EventLoop, tls: Bool) throws -> PostgresConnection {
        let connection = try loop.connect(
            server.parameters([("sslmode", tls ? "require" : "disable")]))
        try #require(connection.usesTLS == tls)
        return connection
    }

    @Test(arguments: [false, true])
    func aQueryOverTheRawStream(tls: Bool) throws {
        try withLoop { loop in
            let connection = try connect(loop, tls: tls)
            #expect((connection.tlsDescription?.hasPrefix("TLSv1.") ?? false) == tls)
            var session = RawSession(loop, connection)
            var buffer = [UInt8](repeating: 0, count: 64)
            let nothing = buffer.withUnsafeMutableBytes { connection.receive(into: $0) }
            #expect(nothing == .wouldBlock)
            try session.send(RawSession.query("SELECT 'hello'"))
            let answer = try session.receiveAnswer()
            #expect(answer.map(\.kind) == ["T", "D", "C", "Z"])
            #expect(answer[1].body == [0, 1, 0, 0, 0, 5] + Array("hello".utf8))
            // libpq can use its connection again when the stream is at rest.
            #expect(try connection.execute("SELECT 'again'").rows == [["again"]])
            try session.send(RawSession.query("SELECT 1"))
            #expect(try session.receiveAnswer().last?.body == [UInt8(ascii: "I")])
            connection.close(sendTerminate: true)
        }
    }

    @Test(arguments: [false, true])
    func aLargeRowThroughSmallBuffers(tls: Bool) throws {
        try withLoop { loop in
            let connection = try connect(loop, tls: tls)
            var session = RawSession(loop, connection)
            session.largestRead = 1000
            let size = 4 << 20
            try session.send(
                RawSession.query(
                    "SELECT string_agg(chr(97 + i % 26), '' ORDER BY i) FROM generate_series(0, \(size - 1)) i"
                ))
            let answer = try session.receiveAnswer()
            #expect(answer.map(\.kind) == ["T", "D", "C", "Z"])
            let row = answer[1].body
            #expect(row.count == size + 6)
            let wrong = row.dropFirst(6).enumerated().first { index, byte in
                byte != UInt8(97 + index % 26)
            }
            #expect(wrong == nil)
            connection.close(sendTerminate: true)
        }
    }

    @Test(arguments: [false, true])
    func aLargeStatementAgainstBackpressure(tls: Bool) throws {
        try withLoop { loop in
            let connection = try connect(loop, tls: tls)
            var size: Int32 = 4096
            #expect(setsockopt(connection.descriptor, SOL_SOCKET, SO_SNDBUF, &size, 4) == 0)
            var session = RawSession(loop, connection)
            let text = String(repeating: "0123456789abcdef", count: 1 << 18)
            try session.send(RawSession.query("SELECT length('\(text)'), md5('\(text)')"))
            #expect(session.waits > 0)
            let answer = try session.receiveAnswer()
            let expected = try connection.execute("SELECT md5(repeat('0123456789abcdef', 262144))")
            let digest = try #require(expected.rows[0][0])
            #expect(
                answer[1].body == [0, 2, 0, 0, 0, 7] + Array("4194304".utf8) + [0, 0, 0, 32]
                    + Array(digest.utf8))
            connection.close(sendTerminate: true)
        }
    }

    @Test(arguments: [false, true])
    func aBackendThatIsKilledEndsTheStream(tls: Bool) throws {
        try withLoop { loop in
            let connection = try connect(loop, tls: tls)
            let observer = try connect(loop, tls: false)
            _ = try observer.execute("SELECT pg_terminate_backend(\(connection.backendProcessID))")
            var session = RawSession(loop, connection)
            let error = #expect(throws: StreamEnded.self) {
                _ = try session.receiveAnswer()
            }
            #expect(error == StreamEnded(reason: nil))
            connection.close(sendTerminate: true)
            observer.close(sendTerminate: true)
        }
    }

    @Test(arguments: [false, true])
    func closingWithMuchUnsentDoesNotBlock(tls: Bool) throws {
        try withLoop { loop in
            let connection = try connect(loop, tls: tls)
            let session = RawSession(loop, connection)
            // The server sleeps and reads nothing: fill every buffer on the way.
            let sleep = RawSession.query("SELECT pg_sleep(60)")
            let handle = try #require(connection.makeCancelHandle())
            let fill = sleep + [UInt8](repeating: 0, count: 1 << 16)
            var result = fill.withUnsafeBytes { session.connection.send($0) }
            while case .bytes = result {
                result = fill.withUnsafeBytes { session.connection.send($0) }
            }
            #expect(result == .wouldBlock)
            connection.close(sendTerminate: true)
            #expect(throws: Never.self) { try handle.request().get() }
        }
    }

    @Test func cancelFromAWorkerThread() throws {
        try withLoop { loop in
            let connection = try connect(loop, tls: false)
            let observer = try connect(loop, tls: false)
            var session = RawSession(loop, connection)
            try session.send(RawSession.query("SELECT pg_sleep(60)"))
            let asleep =
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND pid = "
                + String(connection.backendProcessID)
            while try observer.execute(asleep).rows != [["1"]] {}
            let cancel = try #require(connection.makeCancelHandle())
            var outcome: Result<Void, CancelError>?
            try loop.submit {
                cancel.request()
            } then: {
                outcome = $0
            }
            let answer = try session.receiveAnswer()
            #expect(answer.map(\.kind) == ["T", "E", "Z"])
            #expect(String(decoding: answer[1].body, as: UTF8.self).contains("57014"))
            while outcome == nil { loop.runOnce() }
            #expect(throws: Never.self) { try outcome?.get() }
            connection.close(sendTerminate: true)
            observer.close(sendTerminate: true)
        }
    }
}

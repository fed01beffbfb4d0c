// SPDX-License-Identifier: Apache-2.0

import Broker
import BrokerConfiguration
import Glibc
import Logging
import Testing

/// A pipe that a sink writes into and the test reads.
private final class LogPipe {
    let readEnd: Int32
    let writeEnd: Int32

    init() {
        var ends: [Int32] = [0, 0]
        precondition(pipe(&ends) == 0)
        (readEnd, writeEnd) = (ends[0], ends[1])
        _ = fcntl(readEnd, F_SETFL, O_NONBLOCK)
    }

    deinit {
        close(readEnd)
        close(writeEnd)
    }

    /// All that is there now.
    func drain() -> String {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = read(readEnd, &chunk, chunk.count)
            guard count > 0 else { break }
            all += chunk[..<count]
        }
        return String(decoding: all, as: UTF8.self)
    }
}

@Suite("Log lines")
struct LoggingTests {
    private func line(
        _ format: LogSink.Format, level: Logger.Level = .info, message: Logger.Message,
        metadata: Logger.Metadata
    ) -> String {
        let pipe = LogPipe()
        let sink = LogSink(descriptor: pipe.writeEnd, level: .trace, format: format)
        sink.makeLogger().log(level: level, message, metadata: metadata)
        return pipe.drain()
    }

    @Test("text: time, level, message and the values in the order of their keys")
    func text() throws {
        let line = line(
            .text, level: .warning, message: "lease held for long",
            metadata: ["lease.held_ms": "31000", "client.program": "worker one", "empty": ""])
        let shape =
            /\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z WARN  lease held for long client\.program="worker one" empty="" lease\.held_ms=31000\n/
        #expect(try shape.wholeMatch(in: line) != nil, "\(line)")
    }

    @Test("JSON: one object, control characters escaped")
    func json() {
        let line = line(
            .json, message: "client gone", metadata: ["client.program": "a\"b\\c\nd\u{1}e"])
        #expect(line.hasPrefix("{\"time\":\""))
        #expect(
            line.hasSuffix(
                "\"level\":\"info\",\"logger\":\"pglease\",\"message\":\"client gone\","
                    + "\"client.program\":\"a\\\"b\\\\c\\nd\\u0001e\"}\n"))
        #expect(line.filter { $0 == "\n" }.count == 1)
    }

    @Test("a client's name cannot forge a second line or a second value")
    func forging() {
        let line = line(
            .text, message: "login",
            metadata: ["client.program": "x\n2026-01-01T00:00:00.000Z INFO forged=yes"])
        #expect(line.filter { $0 == "\n" }.count == 1)
        #expect(line.hasSuffix("client.program=\"x\\n2026-01-01T00:00:00.000Z INFO forged=yes\"\n"))
    }

    @Test("lines below the level are not made, and a reload changes loggers that exist")
    func levels() {
        let pipe = LogPipe()
        let sink = LogSink(descriptor: pipe.writeEnd, level: .warning, format: .text)
        let logger = sink.makeLogger()
        logger.info("quiet")
        #expect(pipe.drain() == "")
        sink.level = .debug
        sink.format = .json
        logger.debug("heard")
        #expect(pipe.drain().contains("\"message\":\"heard\""))
        var own = logger
        own.logLevel = .error
        own.info("not by this one")
        #expect(pipe.drain() == "")
        #expect(logger.logLevel == .debug)
    }

    @Test("words stand in the place of the message where the format is text")
    func words() {
        let metadata: Logger.Metadata = ["words": "closing because: x\ny (age=0s)", "user": "a"]
        #expect(
            line(.text, message: "client left", metadata: metadata)
                .hasSuffix("INFO  closing because: x y (age=0s) user=a\n"))
        #expect(
            line(.json, message: "client left", metadata: metadata)
                .hasSuffix("\"message\":\"client left\",\"user\":\"a\"}\n"))
    }

    @Test("the log file is opened again by its name, and one that cannot be opened changes nothing")
    func logFile() throws {
        let folder = "/tmp/pglease-log-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        #expect(mkdir(folder, 0o700) == 0)
        defer {
            for name in ["log", "old"] { unlink("\(folder)/\(name)") }
            rmdir(folder)
        }
        func content(_ name: String) throws -> String {
            String(decoding: try FileSystem.readBytes("\(folder)/\(name)"), as: UTF8.self)
        }
        let sink = LogSink(descriptor: nil, level: .info, format: .text)
        let logger = sink.makeLogger()
        var settings = Settings()
        settings.logfile = "\(folder)/log"
        try sink.openTargets(settings)
        logger.info("first")
        #expect(try content("log").hasSuffix("INFO  first\n"))
        #expect(rename("\(folder)/log", "\(folder)/old") == 0)
        logger.info("second")
        try sink.openTargets(settings)
        logger.info("third")
        #expect(try content("old").hasSuffix("INFO  second\n"))
        #expect(try content("log").split(separator: "\n").count == 1)
        settings.logfile = "\(folder)/none/log"
        #expect(throws: LogTargetError.self) { try sink.openTargets(settings) }
        logger.info("fourth")
        #expect(try content("log").hasSuffix("INFO  fourth\n"))
        #expect(sink.droppedLines == 0)
    }

    @Test("the system's log gets facility, severity and name, and is found again after a restart")
    func systemLog() throws {
        let path = "/tmp/pglease-syslog-\(getpid())-\(UInt32.random(in: 0 ... .max))"
        func daemon() throws -> Int32 {
            let descriptor = socket(
                AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
            let status = withUnsafePointer(to: address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
                }
            }
            #expect(status == 0)
            return descriptor
        }
        func heard(_ descriptor: Int32) -> String {
            var bytes = [UInt8](repeating: 0, count: 8192)
            let count = recv(descriptor, &bytes, bytes.count, 0)
            return String(decoding: bytes[..<max(0, count)], as: UTF8.self)
        }
        let sink = LogSink(descriptor: nil, level: .info, format: .text, systemLogPath: path)
        let logger = sink.makeLogger()
        var settings = Settings()
        settings.syslog = true
        settings.syslogIdent = "pool"
        settings.syslogFacility = .local3
        try sink.openTargets(settings)
        logger.info("nobody hears it")
        let first = try daemon()
        logger.warning("seen", metadata: ["user": "a"])
        let shape = /<156>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d pool\[\d+\]: WARN  seen user=a/
        #expect(try shape.wholeMatch(in: heard(first)) != nil)
        close(first)
        unlink(path)
        let second = try daemon()
        logger.error("again")
        #expect(heard(second).hasPrefix("<155>"))
        settings.syslog = false
        try sink.openTargets(settings)
        logger.error("not there")
        #expect(heard(second).isEmpty)
        close(second)
        unlink(path)
    }

    @Test("a long line is cut to what a pipe takes whole, at a character")
    func longLine() {
        let line = line(
            .text, message: "long",
            metadata: ["value": "\(String(repeating: "é", count: 5000))"])
        #expect(line.utf8.count <= 4096)
        #expect(line.hasSuffix("é [cut]\n"))
        #expect(!line.contains("\u{FFFD}"))
    }

    @Test("nobody reads: lines are dropped without waiting, counted, and told of afterwards")
    func fullPipe() {
        let pipe = LogPipe()
        let sink = LogSink(descriptor: pipe.writeEnd, level: .info, format: .text)
        let logger = sink.makeLogger()
        let filler = String(repeating: "x", count: 1000)
        for _ in 0..<200 { logger.info("filler", metadata: ["value": "\(filler)"]) }
        let dropped = sink.droppedLines
        #expect(dropped > 0 && dropped < 200)
        #expect(pipe.drain().split(separator: "\n").count == 200 - dropped)
        logger.info("back")
        let lines = pipe.drain().split(separator: "\n")
        #expect(lines.count == 2)
        #expect(lines.first?.hasSuffix("log.dropped=\(dropped)") == true)
        #expect(lines.last?.hasSuffix("back") == true)
        #expect(sink.droppedLines == 0)
    }

    @Test(
        "secrets become ***",
        arguments: [
            ("host=db password=geheim user=a", "host=db password=*** user=a"),
            ("password = 'two words' user=a", "password = *** user=a"),
            ("PGPASSWORD=x", "PGPASSWORD=***"),
            ("sslpassword='it''s' x", "sslpassword=*** x"),
            ("ALTER ROLE a PASSWORD 'x'", "ALTER ROLE a PASSWORD ***"),
            ("postgresql://u:p%40s@db/x", "postgresql://u:***@db/x"),
            ("postgres://u:a@b@db:5432/x", "postgres://u:***@db:5432/x"),
            ("postgresql:///x?password=y&user=z", "postgresql:///x?password=***&user=z"),
            ("{\"password\": \"x\"}", "{\"password\": ***}"),
            (
                "password authentication failed for user \"a\"",
                "password authentication failed for user \"a\""
            ),
            ("http://host:8080/a@b", "http://host:8080/a@b"),
            ("no secret here", "no secret here"),
        ])
    func redaction(text: String, expected: String) {
        #expect(SecretRedaction.redact(text) == expected)
    }

    @Test("a value is hidden for its key, and redacted inside every line")
    func redactionInLines() {
        let line = line(
            .text, message: "connect failed",
            metadata: ["server.password": "x1y2", "server.conninfo": "user=a password=x1y2"])
        #expect(!line.contains("x1y2"))
        #expect(line.contains("server.password=***"))
    }
}

// SPDX-License-Identifier: Apache-2.0

import Glibc

/// What tests need of the machine: folders, ports, scripts, and waiting for something.
package enum Fixture {
    /// The programs of PostgreSQL.
    package static let postgresPrograms =
        variable("PGLEASE_POSTGRES_BIN")
        ?? "/usr/lib/postgresql/15/bin"

    /// Of this package, as it was built along with the tests unless the variable says otherwise.
    package static func program(_ name: String, _ variable: String) -> String {
        let root = #filePath.split(separator: "/").dropLast(3).joined(separator: "/")
        return Fixture.variable(variable) ?? "/\(root)/.build/debug/\(name)"
    }

    private static func variable(_ name: String) -> String? {
        getenv(name).map { String(cString: $0) }
    }

    /// A new one. Short, because a socket's path has a limit.
    package static func folder() throws -> String {
        var template = Array("/tmp/pgle-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!) }
        guard let made else { throw FixtureFailure("no folder can be made in /tmp") }
        return String(cString: made)
    }

    /// A port that nobody listens on.
    package static func freePort() throws -> Int {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let probe = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        defer { close(probe) }
        let status = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(probe, $0, length) | getsockname(probe, $0, &length)
            }
        }
        guard status == 0 else { throw FixtureFailure("there is no free port") }
        return Int(UInt16(bigEndian: address.sin_port))
    }

    /// Runs a script and returns what it wrote; throws that when it fails.
    @discardableResult
    package static func shell(_ script: String) throws -> String {
        let shell = try ChildProcess("/bin/sh", ["-c", script], output: .kept)
        guard shell.waitUntilExit() == .exited(0) else { throw FixtureFailure(shell.output) }
        return shell.output
    }

    /// However this process ends, the script runs, a second later at most.
    package static func atTheEnd(_ script: String) throws {
        try shell(
            """
            setsid sh -c 'while kill -0 \(getpid()); do sleep 1; done
            \(script)' </dev/null >/dev/null 2>&1 &
            """)
    }

    /// Looks again and again whether something has become true; throws after `seconds`, with what
    /// `state` says then.
    package static func eventually(
        _ what: String, within seconds: Double = 60, _ state: () -> String = { "" },
        _ condition: () throws -> Bool
    ) throws {
        let deadline = ContinuousClock.now.advanced(by: .seconds(seconds))
        while try !condition() {
            guard ContinuousClock.now < deadline else {
                throw FixtureFailure("\(what) did not come true\n\(state())")
            }
            usleep(10_000)
        }
    }

    /// The same in a task.
    package static func eventually(
        _ what: String, within seconds: Double = 60, _ condition: () throws -> Bool
    ) async throws {
        let deadline = ContinuousClock.now.advanced(by: .seconds(seconds))
        while try !condition() {
            guard ContinuousClock.now < deadline else {
                throw FixtureFailure("\(what) did not come true")
            }
            try await Task.sleep(for: .milliseconds(5))
        }
    }
}

/// Why a test cannot go on.
package struct FixtureFailure: Error, CustomStringConvertible {
    package let description: String

    init(_ description: String) { self.description = description }
}

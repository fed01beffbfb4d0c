// SPDX-License-Identifier: Apache-2.0

import LeaseClient

/// A program that forks while its client has connections at rest and in a lease, for the tests:
/// `fork` is kept from Swift programs, which is no reason for a C library's users not to do it.
///
/// Prints a line for each thing that was seen; the tests know what it must be.
@main
struct Forks {
    static func main() throws {
        var configuration = try LeaseConfiguration()
        configuration.direct = CommandLine.arguments[2] == "relay" ? .never : .whenPossible
        let client = try LeaseClient(CommandLine.arguments[1], configuration: configuration)
        func isRight(_ connection: LeaseConnection) throws -> Bool {
            try connection.query("SELECT pg_backend_pid()").one(Int.self)
                == connection.grant?.serverProcessID
        }
        print("parent before: \(try client.withLease(for: "parent, before", isRight))")
        // With a connection at rest.
        inChild("at rest") {
            let own = try client.withLease(for: "child") { connection in
                try connection.query("SELECT 1").one(Int.self)
            }
            let again = try client.withLease(for: "child again") { try $0.query("SELECT 2").count }
            return own == 1 && again == 1
        }
        print("parent after: \(try client.withLease(for: "parent, after", isRight))")
        // In a lease.
        try client.withLease(for: "parent, within") { connection in
            try connection.execute("CREATE TEMP TABLE mine (a int)")
            inChild("in a lease") {
                do {
                    try connection.query("SELECT 1")
                    return false
                } catch LeaseError.Code.forked {
                    return try client.withLease(for: "child, within") {
                        try $0.query("SELECT to_regclass('pg_temp.mine') IS NULL").one(Bool.self)
                    }
                }
            }
            try connection.execute("INSERT INTO mine VALUES (1)")
            let count = try connection.query("SELECT count(*) FROM mine").one(Int.self)
            print("parent within: \(count == 1)")
        }
        // The child leaves the parent's closure by itself.
        var isChild = false
        let isIntact = try client.withLease(for: "parent, left by its child") { connection in
            isChild = processFork() == 0
            if isChild { return true }
            awaitChild()
            return try connection.query("SELECT true").one(Bool.self)
        }
        if isChild {
            let own = try client.withLease(for: "child, beyond") { try $0.query("SELECT 1").count }
            processExit(own == 1 ? 0 : 1)
        }
        print("parent left: \(isIntact)")
        print("parent end: \(try client.withLease { try $0.query("SELECT 1").count } == 1)")
    }

    /// Runs the body in a child and waits for it.
    static func inChild(_ what: String, _ body: () throws -> Bool) {
        if processFork() == 0 {
            let isRight = (try? body()) ?? false
            processExit(isRight ? 0 : 1)
        }
        print("child \(what): \(awaitChild())")
    }

    /// Whether it ended well.
    @discardableResult
    static func awaitChild() -> Bool {
        var status: Int32 = -1
        return processWait(-1, &status, 0) > 0 && status == 0
    }
}

@_silgen_name("fork")
private func processFork() -> Int32

@_silgen_name("waitpid")
private func processWait(_ process: Int32, _ status: UnsafeMutablePointer<Int32>, _ options: Int32)
    -> Int32

@_silgen_name("_exit")
private func processExit(_ status: Int32) -> Never

// SPDX-License-Identifier: Apache-2.0

import Glibc
import LeaseClient

// Every Swift block of README, docs, the module's README and its DocC articles, as it is printed there: what does not
// compile here would not compile there. `test_docs.py` compares the texts.

/// README.md
func snippetReadme1() {
    do {
        let client = try LeaseClient()  // DATABASE_URL, or PGHOST, PGPORT …: the broker's address
        let workers = try client.withLease(for: "hello.count", wait: .seconds(2)) { connection in
            try connection.query("SELECT count(*) FROM pg_stat_activity WHERE state = \("active")")
                .one(Int.self)
        }
        print("\(workers) at work")
    } catch {
        print("hello: \(error)")  // every LeaseError says what to do
        exit(1)
    }
}

/// docs/clients.md
func snippetClients1() throws {
    let client = try LeaseClient("host=/run/pglease port=6432 dbname=postgres")
    let names = try client.withLease(for: "report.daily", wait: .seconds(2)) { connection in
        try connection.withTransaction { transaction in
            try transaction.query("SELECT rolname FROM pg_roles WHERE rolname <> \("nobody")")
                .map { row in try row.decode(String.self, at: 0) }
        }
    }
    print(names)
}

/// Sources/LeaseClient/LeaseClient.docc/GettingStarted.md
func snippetGettingStarted1() throws {
    let client = try LeaseClient("host=/run/pglease port=6432 dbname=postgres")
    let version = try client.withLease(for: "hello.version", wait: .seconds(2)) { connection in
        try connection.query("SELECT version()").one(String.self)
    }
    print(version)
}

/// Sources/LeaseClient/LeaseClient.docc/GettingStarted.md
func snippetGettingStarted2() async throws {
    let client = try LeaseClient("host=/run/pglease port=6432 dbname=postgres")
    let active = try await client.withLease(for: "hello.count") { connection in
        try await connection.query(
            "SELECT count(*) FROM pg_stat_activity WHERE state = \("active")"
        )
        .one(Int.self)
    }
    print(active)
}

/// Sources/LeaseClient/LeaseClient.docc/GettingStarted.md
func snippetGettingStarted3() throws {
    var configuration = try LeaseConfiguration()
    configuration.wait = .seconds(5)
    configuration.statementTimeout = .seconds(30)
    configuration.retry = RetryPolicy(attempts: 5, delay: .milliseconds(200), factor: 2)
    let client = try LeaseClient(
        "host=/run/pglease port=6432 dbname=postgres", configuration: configuration)
    try client.withLease { connection in print(connection.grant!.kind) }
}

/// Sources/LeaseClient/LeaseClient.docc/WhenItFails.md
func snippetWhenItFails1() throws {
    let client = try LeaseClient("host=/run/pglease port=6432 dbname=postgres")
    do {
        try client.withLease(for: "errors", wait: .milliseconds(500)) { connection in
            print(try connection.query("SELECT 1 / 0").one(Int.self))
        }
    } catch let error as LeaseError where error.code == .exhausted {
        print(error.exhaustion?.holders ?? [])
    } catch let error as LeaseError where error.code == .sql {
        print(error.sqlState ?? "", error.postgresError?.message ?? "")
    } catch LeaseError.Code.revoked {
        print("held for too long")
    } catch {
        print("\(error)")
    }
}

/// Sources/LeaseClient/LeaseClient.docc/WorkingInALease.md
func snippetWorkingInALease1() throws {
    let client = try LeaseClient("host=/run/pglease port=6432 dbname=postgres")
    try client.withLease(for: "accounts.move", hold: .seconds(30)) { connection in
        try connection.execute("CREATE TEMP TABLE accounts (id int8, balance int8)")
        try connection.withTransaction { transaction in
            try transaction.execute("UPDATE accounts SET balance = balance - 5 WHERE id = \(1)")
            try transaction.execute("UPDATE accounts SET balance = balance + 5 WHERE id = \(2)")
        }
    }
}

/// Sources/LeaseClient/LeaseClient.docc/WorkingInALease.md
func snippetWorkingInALease2() async throws {
    let client = try LeaseClient("host=/run/pglease port=6432 dbname=postgres")
    try await client.withLease(for: "greetings.copy") { connection in
        try await connection.execute("CREATE TEMP TABLE greetings (id int8, text text)")
        try await connection.copyIn(into: "greetings", columns: ["id", "text"]) { writer in
            for id in 1...1000 { try await writer.row(id, "hello \(id)") }
        }
        for try await row in try await connection.stream("SELECT id, text FROM greetings") {
            let (id, text) = try row.decode((Int, String?).self)
            if id > 998 { print(id, text ?? "nothing") }
        }
    }
}

/// Sources/LeaseClient/README.md
func snippetModuleReadme1() {
    do {
        let client = try LeaseClient()  // DATABASE_URL, or PGHOST, PGPORT …: the broker's address
        let workers = try client.withLease(for: "hello.count", wait: .seconds(2)) { connection in
            try connection.query("SELECT count(*) FROM pg_stat_activity WHERE state = \("active")")
                .one(Int.self)
        }
        print("\(workers) at work")
    } catch {
        print("hello: \(error)")  // every LeaseError says what to do
        exit(1)
    }
}

/// Sources/LeaseClient/README.md
func snippetModuleReadme2() async throws {
    let client = try LeaseClient()

    try await client.withLease(for: "hello.copy", hold: .seconds(30)) { connection in
        try await connection.withTransaction { transaction in
            try await transaction.execute("CREATE TEMP TABLE greetings (id int8, text text)")
            try await transaction.copyIn(into: "greetings", columns: ["id", "text"]) { writer in
                for id in 1...1000 { try await writer.row(id, "hello \(id)") }
            }
            for try await row in try await transaction.stream(
                "SELECT id, text FROM greetings WHERE id > \(998) ORDER BY id")
            {
                let (id, text) = try row.decode((Int, String?).self)
                print(id, text ?? "nothing")
            }
        }
        print("this lease was \(connection.grant!.kind)")
    }
}

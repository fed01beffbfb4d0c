// SPDX-License-Identifier: Apache-2.0

import PostgresFixture
import Testing

@testable import LeaseClient

@Suite("Fork", .timeLimit(.minutes(5)))
struct ForkTests {
    private static let program = Fixture.program("lease-forks", "PGLEASE_FORKS_BIN")

    @Test(
        "A child shares no connection with its parent, and both go on",
        arguments: Route.leased.map { ($0, "off") } + [(.direct, "on")])
    func forks(_ route: Route, parking: String) async throws {
        let broker = try Broker()
        let output = try await onThread {
            try Fixture.shell(
                "PGLEASE_PARK=\(parking) timeout 60 \(ForkTests.program) '\(broker.address(route))' \(route.rawValue)"
            )
        }
        #expect(
            output.split(separator: "\n") == [
                "parent before: true", "child at rest: true", "parent after: true",
                "child in a lease: true", "parent within: true", "parent left: true",
                "parent end: true",
            ])
        try await until("nothing is left") { try broker.leases().isEmpty }
        #expect(!broker.log.contains("protocol violation"))
    }
}

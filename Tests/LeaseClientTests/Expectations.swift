// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import LeaseClient

// Functions, not `#expect(throws:)` with its closure: closures inside and outside of macros of one
// function get the same symbol from Swift 6.3.1 in debug builds, and the wrong one runs.

/// The error of that type that the body throws; a failure when it throws none or another.
@discardableResult
func thrown<Failure: Error, Result>(
    _ type: Failure.Type, sourceLocation: SourceLocation = #_sourceLocation,
    _ body: () throws -> Result
) -> Failure? {
    do {
        _ = try body()
        Issue.record("nothing was thrown", sourceLocation: sourceLocation)
        return nil
    } catch {
        if let wanted = error as? Failure { return wanted }
        Issue.record("another error: \(error)", sourceLocation: sourceLocation)
        return nil
    }
}

@discardableResult
func thrown<Failure: Error, Result>(
    _ type: Failure.Type, sourceLocation: SourceLocation = #_sourceLocation,
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
) async -> Failure? {
    do {
        _ = try await body()
        Issue.record("nothing was thrown", sourceLocation: sourceLocation)
        return nil
    } catch {
        if let wanted = error as? Failure { return wanted }
        Issue.record("another error: \(error)", sourceLocation: sourceLocation)
        return nil
    }
}

@discardableResult
func leaseError<Result>(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Result
) -> LeaseError? {
    thrown(LeaseError.self, sourceLocation: sourceLocation, body)
}

@discardableResult
func leaseError<Result>(
    sourceLocation: SourceLocation = #_sourceLocation,
    isolation: isolated (any Actor)? = #isolation, _ body: () async throws -> Result
) async -> LeaseError? {
    await thrown(LeaseError.self, sourceLocation: sourceLocation, isolation: isolation, body)
}

/// The server's error that the body throws.
func sqlError<Result>(
    sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Result
) -> PostgresError? {
    let error = leaseError(sourceLocation: sourceLocation, body)
    guard let error, error.code == .sql, let sql = error.postgresError else {
        Issue.record(
            "not an error of SQL: \(String(describing: error))", sourceLocation: sourceLocation)
        return nil
    }
    return sql
}

/// Looks every few milliseconds whether something has become true; a failure after `seconds`.
func eventually(
    _ what: String, within seconds: Double = 20, sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: () throws -> Bool
) throws {
    let deadline = ContinuousClock.now.advanced(by: .seconds(seconds))
    while try !condition() {
        try #require(
            ContinuousClock.now < deadline, "\(what) did not come true",
            sourceLocation: sourceLocation)
        usleep(5000)
    }
}

/// The same in a task, which lets others run meanwhile.
func until(
    _ what: String, sourceLocation: SourceLocation = #_sourceLocation,
    isolation: isolated (any Actor)? = #isolation, _ condition: () throws -> Bool
) async throws {
    let deadline = ContinuousClock.now.advanced(by: .seconds(30))
    while try !condition() {
        try #require(
            ContinuousClock.now < deadline, "\(what) did not come true",
            sourceLocation: sourceLocation)
        try await Task.sleep(for: .milliseconds(5))
    }
}

/// Runs blocking work on a thread of its own, as a worker has it.
func onThread<Result: Sendable>(
    _ body: @escaping @Sendable () throws -> Result
) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread {
            continuation.resume(with: Swift.Result { try body() })
        }
    }
}

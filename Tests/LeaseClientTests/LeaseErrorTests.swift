// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import Testing

/// What a program can tell of an error, and how it is caught, without `@testable`.
@Suite("LeaseError") struct LeaseErrorTests {
    private static let words = PostgresError(
        severity: "FATAL", sqlState: "57P05", message: "lease revoked", hint: "be quick")

    private static let all: [(error: LeaseError, code: LeaseError.Code, state: String?)] = [
        (.poolLock(words), .poolLock, "57P05"), (.revoked(words), .revoked, "57P05"),
        (.serverLost(words), .serverLost, "57P05"),
        (.serverUnreachable(words), .serverUnreachable, "57P05"),
        (.brokerAway(reason: "gone"), .brokerAway, nil), (.refused(words), .refused, "57P05"),
        (.notABroker(words), .notABroker, "57P05"), (.sql(words), .sql, "57P05"),
        (.timedOut(after: .seconds(2)), .timedOut, nil), (.cancelled, .cancelled, nil),
        (.pipelineAborted(by: 3), .pipelineAborted, nil), (.closed, .closed, nil),
        (.forked, .forked, nil), (.usage("not so"), .usage, nil),
        (.configuration("no host"), .configuration, nil),
    ]

    @Test("each has its code, and the server's words where there are any")
    func codes() {
        #expect(Set(Self.all.map(\.code)).count == Self.all.count)
        #expect(Set(Self.all.map(\.code.description)).count == Self.all.count)
        for (error, code, state) in Self.all {
            #expect(error.code == code)
            #expect(error.sqlState == state && error.postgresError?.sqlState == state)
            #expect((error.underlying as? PostgresError)?.sqlState == state)
            #expect(!error.message.isEmpty && error.description.hasPrefix(error.message))
            if let hint = error.hint { #expect(error.description.hasSuffix(hint)) }
        }
        #expect(LeaseError.timedOut(after: .seconds(2)).timeout == .seconds(2))
        #expect(LeaseError.pipelineAborted(by: 3).failedStatement == 3)
        #expect(LeaseError.brokerAway(reason: "x", underlying: Self.words).underlying != nil)
    }

    @Test("it is caught by its code, and by no other")
    func catching() {
        func name(_ error: any Error) -> String {
            do {
                throw error
            } catch LeaseError.Code.revoked {
                return "revoked"
            } catch let error as LeaseError where error.code == .sql {
                return error.sqlState ?? ""
            } catch LeaseError.Code.closed, LeaseError.Code.forked {
                return "over"
            } catch {
                return "other"
            }
        }
        #expect(name(LeaseError.revoked(Self.words)) == "revoked")
        #expect(name(LeaseError.sql(Self.words)) == "57P05")
        #expect(name(LeaseError.closed) == "over" && name(LeaseError.forked) == "over")
        #expect(name(LeaseError.cancelled) == "other" && name(CancellationError()) == "other")
        let none: LeaseError? = nil
        if case LeaseError.Code.sql = none { Issue.record("nothing has a code") }
    }

    @Test("a code that a program does not know is a value like any other")
    func unknownCodes() {
        for (error, code, _) in Self.all {
            let isKnown =
                switch error.code {
                case .sql, .revoked: true
                default: false
                }
            #expect(isKnown == (code == .sql || code == .revoked))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import Testing

@testable import Workers

/// When questions of a source mean that it shuts down.
@Suite struct ShutdownWatchTests {
    private let start = ContinuousClock.now

    private func isShutdown(
        _ questions: Int, every pause: Duration, confirming: Bool = false
    ) -> Bool {
        var watch = ShutdownWatch()
        var answers: [Bool] = []
        for number in 0..<questions {
            answers.append(
                watch.isAsked(
                    confirmed: .init(rawValue: confirming ? UInt64(number) : 7),
                    now: start.advanced(by: pause * number)))
        }
        return answers.contains(true)
    }

    @Test("a long row of questions is one, a few are not, nor are those after a silence")
    func rows() {
        #expect(isShutdown(2000, every: .milliseconds(1)))
        #expect(!isShutdown(900, every: .milliseconds(1)))
        #expect(isShutdown(12, every: .milliseconds(100)))
        // A wal_sender_timeout of one second.
        #expect(!isShutdown(1000, every: .milliseconds(500)))
    }

    @Test("a receiver that confirms is not given up")
    func confirming() {
        #expect(!isShutdown(5000, every: .milliseconds(1), confirming: true))
    }
}

// SPDX-License-Identifier: Apache-2.0

import HotPaths
import Testing

/// What is done for every query allocates nothing, once it is warm. `scripts/bench instructions` counts the same in the
/// whole program.
@Suite("Allocations of the hot paths", .enabled(if: allocationsAreCounted))
struct AllocationTests {
    private static let steps = 1_000
    /// What a debug build adds to each step; the optimizer leaves none.
    #if DEBUG
        private static let grants = 1
        private static let requests = [RelayHotPath.Request.simple: 1, .extended: 2, .prepared: 2]
    #else
        private static let grants = 0
        private static let requests: [RelayHotPath.Request: Int] = [:]
    #endif

    @Test func allocationsAreSeen() {
        var path = AllocatingPath()
        #expect(path.allocations(steps: Self.steps) >= Self.steps)
    }

    @Test func theFramerAllocatesNothing() {
        var path = FrameHotPath()
        #expect(path.allocations(steps: Self.steps) == 0)
    }

    @Test func aGrantAndItsReturnAllocateNothingMore() {
        var path = GrantHotPath()
        #expect(path.allocations(steps: Self.steps) <= Self.grants * Self.steps)
    }

    @Test(arguments: RelayHotPath.Request.allCases)
    func aRelayedRequestAllocatesNothingMore(_ request: RelayHotPath.Request) {
        var path = RelayHotPath(request)
        #expect(
            path.allocations(steps: Self.steps) <= Self.requests[request, default: 0] * Self.steps)
    }
}

/// Allocates with every step.
private struct AllocatingPath: ~Copyable, HotPath {
    private final class Box {}
    private var kept: Box?

    mutating func step() { kept = Box() }
}

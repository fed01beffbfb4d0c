// SPDX-License-Identifier: Apache-2.0

import HotPaths

/// Nanoseconds and allocations of what is done for every query.
func printHotPaths() {
    var frames = FrameHotPath()
    printHotPath("the framer: an answer of 100 rows", &frames, steps: 20_000)
    var grant = GrantHotPath()
    printHotPath("scheduler: a request and its return", &grant, steps: 500_000)
    for request in RelayHotPath.Request.allCases {
        var relay = RelayHotPath(request)
        printHotPath("relay: a request and its answer, \(request.rawValue)", &relay, steps: 100_000)
    }
}

private func printHotPath<Path: HotPath & ~Copyable>(
    _ name: String, _ path: inout Path, steps: Int
) {
    let allocations = Double(path.allocations(steps: steps)) / Double(steps)
    let each = Int(path.nanoseconds(steps: steps).rounded())
    print("\(name): \(each) ns, \(allocations) allocations")
}

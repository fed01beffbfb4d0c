// SPDX-License-Identifier: Apache-2.0

import Glibc
import LeaseSimulation

/// Ten connections, and more and less processes that want them directly: what the pause after a
/// connection was taken from its process saves, and what it costs.
func printContention() {
    let settings: [(String, ContentionTrial.Setting)] = [
        ("2 x 20 busy", .init(processes: 2, threads: 20, think: .milliseconds(1))),
        ("4 x 10 busy", .init(processes: 4, threads: 10, think: .milliseconds(1))),
        ("4 x 10 light", .init(processes: 4, threads: 10, think: .milliseconds(100))),
        ("8 x 1 light", .init(processes: 8, threads: 1, think: .milliseconds(40))),
        ("10 x 3 light", .init(processes: 10, threads: 3, think: .milliseconds(60))),
        ("11 x 1 light", .init(processes: 11, threads: 1, think: .milliseconds(40))),
        ("30 x 1 light", .init(processes: 30, threads: 1, think: .milliseconds(40))),
        ("30 x 1 seldom", .init(processes: 30, threads: 1, think: .seconds(2))),
        ("30 x 1 busy", .init(processes: 30, threads: 1, think: .milliseconds(2))),
        ("100 x 1 light", .init(processes: 100, threads: 1, think: .milliseconds(200))),
    ]
    print("processes x threads   policy   leases/s  direct  taken/s  wait p50, p99 in ms")
    for (name, setting) in settings {
        for always in [true, false] {
            var trial = ContentionTrial(setting, seed: 1, handsOutAlways: always)
            let result = trial.run(for: .seconds(120))
            let columns = [
                pad(name, 20), pad(always ? "always" : "paused", 8),
                pad("\(Int(result.leasesPerSecond))", 8), pad(percent(result.directShare), 7),
                pad(tenths(result.takenPerSecond), 8), tenths(result.wait(percentile: 0.5)),
                tenths(result.wait(percentile: 0.99)),
            ]
            print(columns.joined(separator: "  "))
        }
    }
}

private func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
}

private func percent(_ share: Double) -> String { "\(Int((share * 100).rounded())) %" }

private func tenths(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

// SPDX-License-Identifier: Apache-2.0

import LeaseSimulation

/// Bursts of nested leases whose threads pause: for each line, how many stood still until the deadline.
func printBursts(_ seeds: ClosedRange<UInt64>, trace: Bool) {
    print("threads\tsize\tcap\tpause\thabit\tstalled\tof\tlongest\tmean")
    for burst in ReliefSetting.bursts {
        for habit in ReliefSetting.Habit.allCases {
            for pause in [0, 5, 30, 100, 300] {
                let setting = ReliefSetting(burst, pausing: .milliseconds(pause), habit: habit)
                var stalled: [UInt64] = []
                var took = Duration.zero
                var longest = Duration.zero
                for seed in seeds {
                    var trial = ReliefTrial(setting, seed: seed)
                    if trace { trial.trace = { print($0) } }
                    let result = trial.run(for: .seconds(60))
                    if result.errors > 0 || result.chains < burst.threads { stalled.append(seed) }
                    took += result.took
                    longest = max(longest, result.took)
                }
                print(
                    burst.threads, burst.connections, burst.cap.map { "\($0)" } ?? "none",
                    "\(pause) ms", habit, stalled.count, seeds.count, longest,
                    took / seeds.count, stalled.prefix(5), separator: "\t")
            }
        }
    }
}

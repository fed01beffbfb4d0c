// SPDX-License-Identifier: Apache-2.0

import LeaseSimulation

/// What the relief of pool locks needs of reserve, for chains of leases one to five deep: for each
/// line the least with which every chain came to its end, and what it achieved; and the errors that a
/// reserve of three left, of so many chains.
func printRelief() {
    print("threads\tsessions\tpause\tdepth\treserve\tchains/s\tlent/s\tmost leases\terrors with 3")
    for (title, known, sessions) in [
        ("known", true, ReliefSetting.Sessions.kept), ("unknown", false, .kept),
        ("unknown", false, .fresh),
    ] {
        for pause in [Duration.milliseconds(500), .milliseconds(20)] {
            for depth in 1...5 {
                var setting = ReliefSetting()
                setting.depth = depth
                setting.hasLeaf = true
                setting.pause = pause
                setting.threadsAreKnown = known
                setting.sessions = sessions
                setting.habit = sessions == .fresh ? .tries : .nothing
                setting.newcomersPerSecond = 20
                setting.strangersPerCent = 50
                setting.shortPerCent = 70
                let (reserve, result) = leastReserve(setting)
                print(
                    title, "\(sessions)", pause, depth, reserve.map { "\($0)" } ?? "> 6",
                    result.chains / seconds, result.lent / seconds, result.mostLeased,
                    errors(setting, withReserve: 3), separator: "\t")
            }
        }
    }
}

private let seconds = 10
private let seeds: ClosedRange<UInt64> = 1...4

private func errors(_ setting: ReliefSetting, withReserve reserve: Int) -> String {
    var setting = setting
    setting.reserve = reserve
    var errors = 0
    var chains = 0
    for seed in seeds {
        var trial = ReliefTrial(setting, seed: seed)
        let result = trial.run(for: .seconds(seconds))
        errors += result.errors
        chains += result.chains
    }
    return "\(errors) of \(errors + chains)"
}

/// The least reserve, up to 6, with which nobody got an error in four runs.
private func leastReserve(_ setting: ReliefSetting) -> (Int?, ReliefResult) {
    var setting = setting
    var last = ReliefResult()
    for reserve in 0...6 {
        setting.reserve = reserve
        var hasErrors = false
        for seed in seeds where !hasErrors {
            var trial = ReliefTrial(setting, seed: seed)
            last = trial.run(for: .seconds(seconds))
            hasErrors = last.errors > 0
        }
        if !hasErrors { return (reserve, last) }
    }
    return (nil, last)
}

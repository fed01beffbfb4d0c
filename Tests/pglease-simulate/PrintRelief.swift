import LeaseCore
import LeaseSimulation

/// What the relief of pool locks needs of reserve, for chains of leases one to five deep: for each
/// line the least with which every chain came to its end, and what it achieved.
func printRelief() {
    print("threads\tsessions\tdepth\tnewcomers/s\treserve\tchains/s\tlent/s\tmost leases\terrors")
    for (title, known, sessions) in [
        ("known", true, ReliefSetting.Sessions.kept), ("unknown", false, .kept),
        ("unknown", false, .fresh),
    ] {
        for isUneven in [false, true] {
            for depth in 1...5 {
                for newcomers in [0, 50] {
                    var setting = ReliefSetting()
                    setting.depth = depth
                    setting.hasLeaf = true
                    setting.isUneven = isUneven
                    setting.threadsAreKnown = known
                    setting.sessions = sessions
                    setting.newcomersPerSecond = Double(newcomers)
                    setting.strangersPerCent = 50
                    setting.shortPerCent = 70
                    let (reserve, result) = leastReserve(setting)
                    print(
                        title, "\(sessions)\(isUneven ? ", uneven" : "")", depth, newcomers,
                        reserve.map { "\($0)" } ?? "> 5", result.chains / seconds,
                        result.lent / seconds, result.mostLeased,
                        result.errors, separator: "\t")
                }
            }
        }
    }
}

private let seconds = 20

/// The least reserve, up to 5, with which nobody got an error in two runs.
private func leastReserve(_ setting: ReliefSetting) -> (Int?, ReliefResult) {
    var setting = setting
    var last = ReliefResult()
    for reserve in max(0, setting.depth - 2)...5 {
        setting.reserve = reserve
        var hasErrors = false
        for seed in 1...2 as ClosedRange<UInt64> where !hasErrors {
            var trial = ReliefTrial(setting, seed: seed)
            last = trial.run(for: .seconds(seconds))
            hasErrors = last.errors > 0
        }
        if !hasErrors { return (reserve, last) }
    }
    return (nil, last)
}

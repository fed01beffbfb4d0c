import LeaseSimulation

/// What the relief of pool locks needs of reserve, for chains of leases one to five deep: for each
/// line the least with which every chain came to its end, and what it achieved.
func printRelief() {
    print("threads  depth  newcomers/s  reserve  chains/s  lent/s  most leases  longest lock")
    for known in [true, false] {
        for mixed in [false, true] {
            for depth in 1...5 {
                for newcomers in [0, 50] {
                    var setting = ReliefTrial.Setting()
                    setting.depth = depth
                    setting.isMixed = mixed
                    setting.threadsAreKnown = known
                    setting.newcomersPerSecond = Double(newcomers)
                    setting.strangersPerCent = 50
                    let (reserve, result) = leastReserve(setting)
                    print(
                        known ? "known" : "unknown", mixed ? "1 to \(depth)" : "\(depth)",
                        newcomers,
                        reserve.map { "\($0)" } ?? "> 8", result.chains / 10, result.lent / 10,
                        result.mostLeased, result.longestLock, result.lockRejections,
                        result.deadlineRejections, separator: "\t")
                }
            }
        }
    }
}

/// The least reserve, up to 8, with which nobody got an error in two runs.
private func leastReserve(_ setting: ReliefTrial.Setting) -> (Int?, ReliefTrial.Result) {
    var setting = setting
    var last = ReliefTrial.Result()
    for reserve in 0...8 {
        setting.reserve = reserve
        var hasErrors = false
        for seed in [1, 2] as [UInt64] {
            var trial = ReliefTrial(setting, seed: seed)
            last = trial.run(for: .seconds(10))
            hasErrors = hasErrors || last.lockRejections + last.deadlineRejections > 0
        }
        if !hasErrors { return (reserve, last) }
    }
    return (nil, last)
}

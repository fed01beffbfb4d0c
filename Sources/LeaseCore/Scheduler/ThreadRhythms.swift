// SPDX-License-Identifier: Apache-2.0

/// How long threads pause before they ask for one more lease, by process: learnt while only one of its
/// threads goes on (`GoingThreads`), as only then is it known whose request it is.
struct ThreadRhythms {
    private static let mostProcesses = 64

    private var rhythms: [Int32: ThreadRhythm] = [:]

    subscript(process: Int32) -> ThreadRhythm? { rhythms[process] }

    /// `isAgain`: with the session that the thread had used last, as after a statement that tried it.
    mutating func note(_ pause: Int64, of process: Int32, isAgain: Bool) {
        if rhythms[process] == nil, rhythms.count >= Self.mostProcesses { rhythms = [:] }
        rhythms[process, default: ThreadRhythm()].note(pause, isAgain: isAgain)
    }

    /// How long a thread is waited for as long as too little is known of its process.
    func cautious(_ process: Int32) -> Int64 {
        max(ThreadRhythm.leastUnknown, rhythms[process]?.cautious ?? 0)
    }
}

/// The last pauses of one process's threads.
struct ThreadRhythm {
    private static let mostPauses = 16
    static let longestPatience: Int64 = 1_000_000_000
    /// As long as too few pauses are known, and as long as few are.
    static let leastUnknown: Int64 = 500_000_000
    private static let leastOfFew: Int64 = 100_000_000
    /// A thread may have to wait for its turn on the machine.
    private static let least: Int64 = 20_000_000
    private static let few = 3
    private static let enough = 5

    /// The newest last; before a request of another session, and of the same one.
    private var pauses: [Int64] = []
    private var pausesInUse: [Int64] = []

    mutating func note(_ pause: Int64, isAgain: Bool) {
        if isAgain {
            Self.add(pause, to: &pausesInUse)
        } else {
            Self.add(pause, to: &pauses)
        }
    }

    private static func add(_ pause: Int64, to pauses: inout [Int64]) {
        if pauses.count == mostPauses { pauses.removeFirst() }
        pauses.append(pause)
    }

    /// How long a thread is waited for: three times the usual pause, or twice a long one. The longest of
    /// many is left out, as it may be that of a thread that did something else. nil: too few are known.
    ///
    /// How soon a session is used again says little: mostly that tells of a statement that tried it.
    var patience: Int64? {
        guard pauses.count >= Self.few else { return nil }
        guard pauses.count >= Self.enough else { return max(Self.leastOfFew, cautious) }
        let usual = pauses.sorted()[(pauses.count - 1) / 2]
        let long = max(Self.long(of: pauses), Self.long(of: pausesInUse))
        return min(Self.longestPatience, max(Self.least, 3 * usual, 2 * long))
    }

    private static func long(of pauses: [Int64]) -> Int64 {
        let sorted = pauses.sorted()
        return (sorted.count < 2 * enough ? sorted.last : sorted.dropLast().last) ?? 0
    }

    /// Of the few that are known.
    var cautious: Int64 {
        min(Self.longestPatience, 3 * max(pauses.max() ?? 0, pausesInUse.max() ?? 0))
    }
}

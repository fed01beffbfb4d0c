/// How long threads pause between one lease and their request for the next, by process: learnt from
/// chains that were helped, as only there is it known whose request it is.
struct ThreadRhythms {
    private static let mostProcesses = 64

    private var rhythms: [Int32: ThreadRhythm] = [:]

    subscript(process: Int32) -> ThreadRhythm? { rhythms[process] }

    mutating func note(_ pause: Int64, of process: Int32) {
        if rhythms[process] == nil, rhythms.count >= Self.mostProcesses { rhythms = [:] }
        rhythms[process, default: ThreadRhythm()].note(pause)
    }
}

/// The last pauses of one process's threads.
struct ThreadRhythm {
    private static let mostPauses = 16
    private static let longestPatience: Int64 = 1_000_000_000

    /// The newest last.
    private var pauses: [Int64] = []

    mutating func note(_ pause: Int64) {
        if pauses.count == Self.mostPauses { pauses.removeFirst() }
        pauses.append(pause)
    }

    /// How long a thread is waited for: three times the usual pause, or one and a half of a long one, as
    /// a request of another thread may have been taken for its. nil: too little is known.
    var patience: Int64? {
        guard pauses.count > 1 else { return nil }
        let sorted = pauses.sorted()
        let last = sorted.count - 1
        if sorted.count < 5 { return min(Self.longestPatience, 3 * sorted[last]) }
        let usual = sorted[last / 2]
        let long = sorted[last - sorted.count / 5]
        return min(Self.longestPatience, max(3 * usual, 3 * long / 2))
    }
}

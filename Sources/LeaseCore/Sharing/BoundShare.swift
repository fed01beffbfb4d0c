// SPDX-License-Identifier: Apache-2.0

/// One sidecar's share of a bound that many share: when it asks, and what it may do with the answer.
///
/// What keeps the sum of all connections within the total, whatever is lost or late:
/// - the table gives out no more than the total, in one serial order;
/// - from the sending of a question until its answer nothing is opened: the answer may be lost after the table has
///   shrunk the share to what the question said;
/// - an answer allows opening for five periods after its question was sent, and the row lives six after it was written;
/// - an answer is good while the PostgreSQL that gave it lives: as the table ends with it, so does the answer, when a
///   connection is lost. Without one nobody would notice: then it is good while the connection that asked is kept, until
///   the first of the sidecar's own stands.
///
/// The connection that asks is one, too. It takes one of the share's own places wherever there is one, and a full sidecar
/// frees one for it, but never its last one; the spare places of the bound are for those that have none to give
/// (`ShareTurn`).
///
/// The sidecar's clock is only asked for differences. Two clocks may differ by a sixth in speed.
package struct BoundShare: Sendable {
    /// The last answer; nil: there was none yet.
    package private(set) var answer: ShareAnswer?
    package private(set) var failure: String?
    /// When the last answered question was sent, and its answer arrived.
    private var askedAt = Instant.zero
    private var answeredAt = Instant.zero
    /// The connection that asked last is kept.
    private var hasWitness = false
    private var lastsUntil = Instant.zero
    /// The last answer may be another PostgreSQL's.
    package private(set) var isVoid = false
    /// PostgreSQL itself bounds the askers, by the CONNECTION LIMIT of a role of their own: no place is freed for them.
    private let asksApart: Bool
    /// A question waits for one of the share's own places until then.
    private var makesRoomUntil: Instant?
    /// What a question that failed may have left of the share, if the table has seen it.
    private var leastLeft = Int.max
    /// Refusals for want of room since the last answer.
    private var crowds = 0
    /// How many there were before that answer.
    private var crowdsBefore = 0
    /// How many connections there were beside the one that was refused; until there are more.
    private var crowdedAt = Int.max
    private var outstanding: Outstanding?
    private var number: Int64 = 0
    private var nextQuestion = Instant.zero
    /// After a refusal for want of room: whoever waits does not ask again at once, or others would never come to ask.
    private var pausesUntil = Instant.zero
    private var failures = 0
    private var demand = Demand()
    private var random: SeededGenerator

    private struct Outstanding {
        let number: Int64
        let sentAt: Instant
        let used: Int
        /// Without the one that asks.
        let beside: Int
        /// A connection was lost since.
        var isVoid = false
    }

    package init(seed: UInt64, asksApart: Bool = false) {
        random = SeededGenerator(seed: seed)
        self.asksApart = asksApart
    }

    package var isAsking: Bool { outstanding != nil }
    package func isAsking(_ number: Int64) -> Bool { outstanding?.number == number }

    /// The connection that asks now has one of the share's places.
    package var asksWithin: Bool { outstanding.map { $0.used > $0.beside } ?? false }

    /// When the next question is due. While one is out: when to give it up.
    package var deadline: Instant {
        if let outstanding { return outstanding.sentAt.advanced(by: patience) }
        return makesRoomUntil ?? nextQuestion
    }

    /// A full sidecar waits for one of its connections to end, so that it can ask in its place.
    package var makesRoom: Bool { makesRoomUntil != nil }

    package func isOverdue(_ now: Instant) -> Bool {
        outstanding.map { $0.sentAt.advanced(by: patience) <= now } ?? false
    }

    package var allowance: ShareAllowance {
        guard let answer else { return .nothing }
        // What was said by a question that failed may hold or not: nothing is begun before another answer.
        let isGood = outstanding == nil && failures == 0 && !isVoid
        let most = makesRoom ? min(certainShare, crowdedAt) - 1 : answer.share
        return ShareAllowance(
            limit: min(most, answer.target), until: isGood ? lastsUntil : .zero,
            alone: isGood && hasWitness ? aloneUntil : .zero)
    }

    /// The connection that asked is not kept for longer.
    package var aloneUntil: Instant {
        min(lastsUntil, answeredAt.advanced(by: Self.timeAlone))
    }

    /// Nobody would notice that the answer is another PostgreSQL's. One that gives nothing needs no witness.
    package var needsWitness: Bool {
        !makesRoom && !isAsking && !isVoid && answer.map { $0.share > 0 } == true
    }

    /// It is not kept any more.
    package mutating func dismissWitness() { hasWitness = false }

    /// What it keeps whatever the table has seen and decides next. One that asked on a place beyond what it is due would
    /// hold that place for its questions alone.
    private var certainShare: Int {
        guard let answer else { return 0 }
        return min(answer.share, answer.target, leastLeft)
    }

    /// How many could be used now; the next question tells the most of the last period.
    package mutating func note(want: Int, _ now: Instant) { demand.note(want, now, window: period) }

    /// What is to be done about the next question, by one that has so many connections in any state. `allowance` may be
    /// another one afterwards.
    package mutating func turn(used: Int, _ now: Instant) -> ShareTurn {
        guard outstanding == nil, nextQuestion <= now else { return .later }
        let isKnown = !isVoid && now < lastsUntil
        // Whoever closed its last connection would not notice that PostgreSQL is another one.
        guard isKnown, !asksApart, certainShare > 1 else { return .ask(isWithin: false) }
        if used > crowdedAt { crowdedAt = .max }
        // After a stop it has waited long enough, and does not know what its share is worth.
        if let makesRoomUntil, makesRoomUntil <= now { return .ask(isWithin: false) }
        if used == 0 { return .ask(isWithin: false) }
        if used < certainShare, used < crowdedAt { return .ask(isWithin: true) }
        if makesRoomUntil == nil {
            makesRoomUntil = now.advanced(
                by: random.nanoseconds(in: eagerPace / 8...eagerPace / 4))
        }
        return .later
    }

    /// A question, to be sent now, on a connection that takes one of the share's places (`isWithin`) or a spare one.
    /// Nothing may be opened until it is answered.
    package mutating func ask(used: Int, isWithin: Bool, _ now: Instant) -> ShareQuestion {
        number += 1
        makesRoomUntil = nil
        let beside = used
        let used = isWithin ? used + 1 : used
        outstanding = Outstanding(number: number, sentAt: now, used: used, beside: beside)
        // The answer's clock is older than its arrival: what is counted from there has passed for certain.
        return ShareQuestion(
            number: number, era: answer?.era, clock: answer?.clock ?? 0,
            since: now.nanoseconds(since: answeredAt) / 1_000_000, used: used,
            want: demand.most(now, window: period))
    }

    /// The answer to the question of that number; one that was given up changes nothing.
    /// `isKept`: the connection that asked is not closed, as there is no other.
    package mutating func take(
        _ answer: ShareAnswer, to number: Int64, isKept: Bool = false, _ now: Instant
    ) {
        guard let sent = outstanding, sent.number == number else { return }
        // After a stop much may have happened to whoever gave it.
        if isOverdue(now) {
            fail("the answer came too late", to: number, now)
            return
        }
        outstanding = nil
        self.answer = answer
        answeredAt = now
        hasWitness = isKept
        if sent.isVoid {
            nextQuestion = now
            return
        }
        askedAt = sent.sentAt
        lastsUntil = askedAt.advanced(by: Self.periodsToOpen * period)
        failure = nil
        failures = 0
        leastLeft = .max
        crowdsBefore = crowds
        crowds = 0
        isVoid = false
        let pause = random.nanoseconds(in: period / 10 * 9...period / 10 * 11)
        nextQuestion = sent.sentAt.advanced(by: pause)
    }

    /// The question was refused, or its answer is not waited for any more.
    package mutating func fail(_ reason: String, to number: Int64, _ now: Instant) {
        guard let sent = outstanding, sent.number == number else { return }
        outstanding = nil
        failure = reason
        failures += 1
        leastLeft = min(leastLeft, sent.used)
        let longest = min(period, eagerPace << min(failures - 1, 3))
        nextQuestion = now.advanced(by: random.nanoseconds(in: longest / 2...longest))
    }

    /// PostgreSQL had no room for the connection that would have asked: nothing was asked, and it is tried again soon, at
    /// another moment than others.
    package mutating func crowdedOut(_ reason: String, of number: Int64, _ now: Instant) {
        guard let sent = outstanding, sent.number == number else { return }
        outstanding = nil
        crowds += 1
        crowdedAt = sent.beside
        // Who has no place at all goes on trying.
        let doublings = min(crowds - 1, answer.map { $0.share > 0 } == true ? 4 : 1)
        let longest = min(eagerPace, Self.crowdPause << doublings)
        pausesUntil = now.advanced(by: random.nanoseconds(in: longest / 4...longest))
        nextQuestion = pausesUntil
    }

    /// It has found no room for so long that somebody should know.
    package var isCrowdedOut: Bool { crowds >= Self.crowdsToTell }

    /// A connection was lost, or none is left: the next may be another PostgreSQL's, which knows of no share.
    /// `keepsPace`: it was not lost but sent away, and whoever waits asks no sooner than else.
    package mutating func void(keepsPace: Bool = false) {
        lastsUntil = .zero
        if !keepsPace { askedAt = .zero }
        makesRoomUntil = nil
        isVoid = true
        hasWitness = false
        outstanding?.isVoid = true
    }

    /// The question that is out will not be answered any more.
    package mutating func giveUp(_ reason: String, _ now: Instant) {
        if let outstanding { fail(reason, to: outstanding.number, now) }
    }

    /// There is nobody to ask with: another look in a while.
    package mutating func postpone(_ now: Instant) { nextQuestion = now.advanced(by: eagerPace) }

    /// Somebody waits for a place of this bound: it asks sooner.
    package mutating func hurry(_ now: Instant) {
        guard outstanding == nil, failures == 0, let answer else { return }
        // An answer that is void keeps nobody waiting. Where so many ask that some are refused, all ask less often but
        // those that have no place.
        let pace = eagerPace * Int64(answer.share == 0 ? 1 : 1 + min(crowdsBefore, 4))
        nextQuestion = min(nextQuestion, max(now, pausesUntil, askedAt.advanced(by: pace)))
    }

    /// Nanoseconds between two questions, as the table wants it.
    private var period: Int64 { (answer?.period ?? Self.firstPeriod) * 1_000_000 }
    /// While somebody waits: once a second for up to a hundred sidecars.
    private var eagerPace: Int64 { period / 5 }
    /// One that has no place has none to lose by a question that it gives up: it asks again sooner.
    private var patience: Int64 {
        if answer.map({ $0.share > 0 }) == true { return period }
        return min(period, 2 * eagerPace << min(failures, 3))
    }

    /// Some ten questions' time, in nanoseconds.
    private static let crowdPause: Int64 = 100_000_000
    private static let crowdsToTell = 10
    private static let firstPeriod: Int64 = 5_000
    private static let periodsToOpen: Int64 = 5
    /// For how long the connection that asked is kept: less than its idle_session_timeout.
    private static let timeAlone: Int64 = 4_000_000_000
}

/// The most that was wanted of late: between one and one and a half windows.
struct Demand: Sendable {
    private var present = 0
    private var recent = 0
    private var before = 0
    private var turnedAt = Instant.zero

    mutating func note(_ want: Int, _ now: Instant, window: Int64) {
        turn(now, window)
        present = want
        recent = max(recent, want)
    }

    mutating func most(_ now: Instant, window: Int64) -> Int {
        turn(now, window)
        return max(present, recent, before)
    }

    private mutating func turn(_ now: Instant, _ window: Int64) {
        let passed = now.nanoseconds(since: turnedAt)
        guard passed >= window / 2 else { return }
        before = passed >= window ? present : recent
        recent = present
        turnedAt = now
    }
}

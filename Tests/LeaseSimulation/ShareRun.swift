// SPDX-License-Identifier: Apache-2.0

import HeapModule
import LeaseCore

/// Many sidecars and one PostgreSQL, from a seed: questions and answers that are lost, late or overtaken, processes that
/// stop and wake, clocks that drift, restarts, floods of demand. After each step the sums are checked.
package struct ShareRun {
    enum Action {
        case look(Int)
        /// The look that `plannedAt` is about, unless it was planned anew.
        case planned(Int, Instant)
        case askerComes(Int, ShareAsking)
        case commit(Int, ShareAsking, asker: Int)
        case answer(Int, holder: Int, number: Int64, ShareAnswer, asker: Int, isKept: Bool)
        case answered(Int, holder: Int, number: Int64, ShareAnswer, kept: Int?)
        case crowdedOut(Int, holder: Int, number: Int64)
        case askerEnds(Int)
        case refused(Int, holder: Int, number: Int64)
        case connected(Int, holder: Int, era: Int, attempts: Int, until: Instant)
        case lost(Int, holder: Int)
        case leaseEnds(Int, holder: Int, backend: Int)
        case closed(Int, holder: Int, backend: Int)
        case backendEnds(Int)
        case starts(Int)
        case serverStarts
        case trouble
    }

    private struct Event: Comparable {
        let at: Instant
        let order: Int
        let action: Action

        static func == (one: Event, other: Event) -> Bool { one.order == other.order }
        static func < (one: Event, other: Event) -> Bool {
            (one.at, one.order) < (other.at, other.order)
        }
    }

    let weather: ShareWeather
    var table: ShareTable
    var hosts: [ShareHost]
    var random: SeededGenerator
    private var events = Heap<Event>()
    private var order = 0
    var now = Instant(nanoseconds: 1_000_000_000_000)

    /// By backend: whose it is (a run of a host), and since when.
    var backends: [Int: (holder: Int, startedAt: Instant)] = [:]
    var aliveOf: [Int: Int] = [:]
    /// Connections that ask, by number as the others.
    var askers: [Int: AskingBackend] = [:]
    var nextBackend = 1
    var nextHolder = 1
    var isServerUp = true
    /// Counts the starts of PostgreSQL: what was under way to another one never arrives.
    var era = 1
    var isCalm = false
    /// From then on what trouble left behind is over: questions that wait for an answer, pauses after failures.
    var settledFrom = Instant(nanoseconds: .max)
    /// Since when there have been places that nobody has.
    private var freeSince: Instant?
    package var report = ShareReport()
    private let trace: ((String) -> Void)?

    package init(_ weather: ShareWeather, seed: UInt64, trace: ((String) -> Void)? = nil) {
        self.weather = weather
        self.trace = trace
        random = SeededGenerator(seed: seed)
        table = ShareTable(total: weather.total, spare: weather.spare)
        hosts = []
        for _ in 0..<weather.hosts {
            addHost()
        }
    }

    mutating func addHost() {
        var host = ShareHost(
            holder: nextHolder, seed: random.next(), asksApart: weather.asksApart)
        nextHolder += 1
        host.clockRate = 1 + Double(chance(0...140) - 70) / 1000
        host.clockOffset = Int64(chance(0...1_000_000)) * 1_000_000
        if weather.differentWeights { host.weight = chance(1...4) }
        hosts.append(host)
    }

    // MARK: The run

    /// Minutes of turmoil, then calm until all have their fair part.
    package mutating func run(minutes: Double) throws(Violation) -> ShareReport {
        let began = now
        for host in hosts.indices {
            hosts[host].demand = chance(0...5) * chance(0...4)
            add(.look(host), after: seconds(Double(chance(0...5000)) / 1000))
        }
        if weather.calm > 0 { add(.trouble, after: seconds(weather.calm)) }
        try run(until: began + .seconds(minutes * 60))
        isCalm = true
        // The longest stop, and connections of a host that is no more.
        try run(until: now + .seconds(125))
        try run(until: now + lastTrouble())
        let calmSince = now
        let period = Double(table.period) / 1000
        settledFrom = now + seconds(2 * period)
        for quarter in 1...120 {
            try run(until: calmSince + .seconds(Double(quarter) * Double(table.period) / 4000))
            if isFair {
                let longest = max(period, Double(table.period) / 1000)
                report.fairAfter = seconds(now - calmSince) / longest
                break
            }
        }
        if report.fairAfter == nil { describe() }
        try flood()
        report.seconds = seconds(now - began)
        report.period = Double(table.period) / 1000
        report.levellings = table.levellings
        return report
    }

    /// Everybody rests until nobody has more than it needs, and then some want more: they have what is free soon.
    private mutating func flood() throws(Violation) {
        for _ in 1...4 {
            settledFrom = Instant(nanoseconds: .max)
            for host in hosts.indices {
                hosts[host].demand = chance(0...1)
                add(.look(host), after: .zero)
            }
            try run(until: now + seconds(Double(table.period) * 3 / 1000))
            settledFrom = now
            for _ in 1...4 {
                let host = chance(0...hosts.count - 1)
                tell("host \(host) wants more")
                hosts[host].demand += chance(1...20)
                look(host)
                try run(until: now + seconds(Double(table.period) * Double(chance(1...8)) / 8000))
            }
        }
    }

    mutating func run(until end: Instant) throws(Violation) {
        while let next = events.min, next.at <= end {
            events.removeMin()
            now = next.at
            try perform(next.action)
            try checkTotals()
            watchFree()
        }
        now = end
    }

    mutating func add(_ action: Action, after duration: Duration) {
        add(action, at: now + duration)
    }

    mutating func add(_ action: Action, at moment: Instant) {
        order += 1
        events.insert(Event(at: max(now, moment), order: order, action: action))
    }

    private mutating func perform(_ action: Action) throws(Violation) {
        // What comes to a process that is stopped is found when it wakes.
        if let host = recipient(action), hosts[host].stoppedUntil > now {
            add(action, at: hosts[host].stoppedUntil)
            return
        }
        switch action {
        case .look(let host): look(host)
        case .planned(let host, let moment):
            guard hosts[host].plannedAt == moment else { return }
            hosts[host].plannedAt = nil
            look(host)
        case .askerComes(let host, let asking): try askerComes(host, asking)
        case .commit(let host, let asking, let asker):
            guard asking.era == era else { return }
            try commit(host, asking, asker)
        case .answer(let host, let holder, let number, let answer, let asker, let isKept):
            guard hosts[host].holder == holder, hosts[host].cutUntil <= now else { return }
            if isKept {
                add(
                    .answered(host, holder: holder, number: number, answer, kept: asker),
                    after: hop())
                return
            }
            // It says goodbye, and has the end of the other side before it believes itself gone.
            let gone = Duration.milliseconds(chance(1...20))
            add(.askerEnds(asker), after: gone)
            add(
                .answered(host, holder: holder, number: number, answer, kept: nil),
                after: gone + hop())
        case .crowdedOut(let host, let holder, let number):
            guard hosts[host].holder == holder else { return }
            hosts[host].share.crowdedOut("no room", of: number, hosts[host].local(now))
            look(host)
        case .askerEnds(let asker): askers[asker] = nil
        case .answered(let host, let holder, let number, let answer, let kept):
            guard hosts[host].holder == holder else { return }
            answered(host, number, answer, kept)
            look(host)
        case .refused(let host, let holder, let number):
            guard hosts[host].holder == holder else { return }
            hosts[host].share.fail("refused", to: number, hosts[host].local(now))
            look(host)
        case .connected(let host, let holder, let era, let attempts, let until):
            guard hosts[host].attempts == attempts else { return }
            try connected(host, holder, era, until)
        case .lost(let host, let holder):
            guard hosts[host].holder == holder else { return }
            lose(host)
            look(host)
        case .leaseEnds(let host, let holder, let backend):
            guard hosts[host].holder == holder,
                let place = hosts[host].busy.firstIndex(of: backend)
            else { return }
            hosts[host].busy.remove(at: place)
            hosts[host].idle.append(backend)
            look(host)
        case .closed(let host, let holder, let backend):
            guard hosts[host].holder == holder else { return }
            hosts[host].ending.removeAll { $0 == backend }
            look(host)
        case .backendEnds(let backend): end(backend)
        case .starts(let host): start(host)
        case .serverStarts:
            isServerUp = true
            trace?("\(stamp) PostgreSQL is back")
        case .trouble: makeTrouble()
        }
    }

    private func recipient(_ action: Action) -> Int? {
        switch action {
        case .look(let host), .planned(let host, _), .answer(let host, _, _, _, _, _),
            .answered(let host, _, _, _, _), .refused(let host, _, _), .crowdedOut(let host, _, _),
            .connected(let host, _, _, _, _), .lost(let host, _), .leaseEnds(let host, _, _),
            .closed(let host, _, _):
            host
        case .askerComes, .commit, .askerEnds, .backendEnds, .starts, .serverStarts, .trouble: nil
        }
    }

    // MARK: PostgreSQL

    private mutating func connected(
        _ host: Int, _ holder: Int, _ era: Int, _ until: Instant
    ) throws(Violation) {
        guard hosts[host].holder == holder else { return }
        hosts[host].connecting -= 1
        let local = hosts[host].local(now)
        guard isServerUp, era == self.era, hosts[host].cutUntil <= now, hosts[host].isRunning,
            local < until
        else {
            // Too late, or refused: it is given up.
            look(host)
            return
        }
        let backend = nextBackend
        nextBackend += 1
        backends[backend] = (holder, now)
        aliveOf[holder, default: 0] += 1
        hosts[host].idle.append(backend)
        dismissWitness(host)
        if let row = table.rows[holder], aliveOf[holder, default: 0] > row.share {
            throw Violation(
                "host \(host) has \(aliveOf[holder, default: 0]) connections, its share is \(row.share)"
            )
        }
        report.mostAlive = max(report.mostAlive, backends.count)
        if hosts[host].startedAt > .zero {
            report.longestStart = max(
                report.longestStart, seconds(now - hosts[host].startedAt))
            hosts[host].startedAt = .zero
        }
        look(host)
    }

    mutating func end(_ backend: Int) {
        guard let (holder, _) = backends.removeValue(forKey: backend) else { return }
        aliveOf[holder, default: 0] -= 1
        if aliveOf[holder] == 0 { aliveOf[holder] = nil }
    }

    private mutating func checkTotals() throws(Violation) {
        let within = askers.values.count(where: \.isWithin)
        if backends.count + within > table.total - table.spare {
            describe()
            throw Violation(
                "\(backends.count) connections and \(within) that ask within their shares, of \(table.total)"
            )
        }
        let together = backends.count + askers.count
        report.mostTogether = max(report.mostTogether, together)
        guard together > table.total else { return }
        report.momentsOver += 1
        if weather.asksApart {
            throw Violation("\(together) connections of \(table.total)")
        }
    }

    // MARK: A host

    /// All that a sidecar does in a turn of its loop.
    mutating func look(_ host: Int) {
        guard hosts[host].isRunning else { return }
        let local = hosts[host].local(now)
        if hosts[host].share.isAsking, hosts[host].share.isOverdue(local) {
            hosts[host].share.giveUp("no answer", local)
        }
        let demand = hosts[host].demand
        hosts[host].share.note(want: demand, local)
        if hosts[host].witness != nil, hosts[host].share.aloneUntil <= local {
            dismissWitness(host)
            lose(host, keepsPace: true)
        }
        if hosts[host].open + hosts[host].closing == 0, hosts[host].witness == nil,
            hosts[host].share.needsWitness
        {
            lose(host)
        }
        if hosts[host].staying < demand { hosts[host].share.hurry(local) }
        if case .ask(let isWithin) = hosts[host].share.turn(used: hosts[host].used, local) {
            ask(host, isWithin: isWithin)
        }
        let allowance = hosts[host].share.allowance
        // Gives back what it has too much of; its leases go on.
        let most = hosts[host].isLeaving ? 0 : allowance.limit
        while hosts[host].staying > most, let backend = hosts[host].idle.popLast() {
            close(backend, of: host)
        }
        serve(host)
        let until =
            hosts[host].open > 0 ? allowance.until : min(allowance.until, allowance.alone)
        if local < until {
            while hosts[host].used < allowance.limit, hosts[host].staying < demand {
                hosts[host].connecting += 1
                add(
                    .connected(
                        host, holder: hosts[host].holder, era: era, attempts: hosts[host].attempts,
                        until: until),
                    after: seconds(Double(chance(3...80)) / 1000))
            }
        }
        if hosts[host].witness != nil, hosts[host].used == 0 {
            dismissWitness(host)
            lose(host, keepsPace: true)
        }
        if hosts[host].isLeaving, hosts[host].used == 0 {
            leave(host)
            return
        }
        watchPatience(host)
        let at = hosts[host].global(hosts[host].share.deadline)
        if hosts[host].plannedAt.map({ $0 <= at }) != true {
            hosts[host].plannedAt = at
            add(.planned(host, at), at: at)
        }
    }

    private mutating func serve(_ host: Int) {
        while hosts[host].busy.count < hosts[host].demand, let backend = hosts[host].idle.popLast()
        {
            hosts[host].busy.append(backend)
            let longest = isCalm ? 2000 : Int(weather.longestLease * 1000)
            add(
                .leaseEnds(host, holder: hosts[host].holder, backend: backend),
                after: seconds(Double(chance(10...longest)) / 1000))
        }
    }

    /// What the last answer said is void, and with it the attempts under way.
    private mutating func lose(_ host: Int, keepsPace: Bool = false) {
        hosts[host].share.void(keepsPace: keepsPace)
        giveUpAttempts(host)
    }

    /// As the broker does: the one before is dismissed, and one that is of no use.
    private mutating func answered(
        _ host: Int, _ number: Int64, _ answer: ShareAnswer, _ kept: Int?
    ) {
        let local = hosts[host].local(now)
        if hosts[host].share.isAsking(number) { dismissWitness(host) }
        let isAwaited = hosts[host].share.isAsking(number)
        hosts[host].share.take(answer, to: number, isKept: kept != nil, local)
        guard let kept else { return }
        if isAwaited, local < hosts[host].share.allowance.alone {
            hosts[host].witness = kept
            // PostgreSQL has ended it meanwhile.
            if askers[kept] == nil {
                hosts[host].witness = nil
                lose(host)
            }
            add(.look(host), at: hosts[host].global(hosts[host].share.aloneUntil))
        } else {
            add(.askerEnds(kept), after: .milliseconds(chance(1...20)))
        }
    }

    mutating func dismissWitness(_ host: Int) {
        guard let asker = hosts[host].witness else { return }
        hosts[host].witness = nil
        hosts[host].share.dismissWitness()
        add(.askerEnds(asker), after: .milliseconds(chance(1...20)))
    }

    private mutating func giveUpAttempts(_ host: Int) {
        hosts[host].connecting = 0
        hosts[host].attempts += 1
    }

    mutating func close(_ backend: Int, of host: Int) {
        hosts[host].ending.append(backend)
        // The scheduler gives them less time.
        if hosts[host].open == 0 { giveUpAttempts(host) }
        // What a host that is cut off says arrives when TCP tries again.
        let cut = hosts[host].cutUntil > now ? hosts[host].cutUntil - now : .zero
        let gone = cut + .milliseconds(chance(cut > .zero ? 1...20_000 : 1...40))
        add(.backendEnds(backend), after: gone)
        add(
            .closed(host, holder: hosts[host].holder, backend: backend),
            after: gone + .milliseconds(chance(1...10)))
    }

    private mutating func watchPatience(_ host: Int) {
        let isBesideFree =
            table.taken < table.total - table.spare && hosts[host].staying < hosts[host].demand
            && hosts[host].isReachable(now) && isServerUp && settledFrom <= now
        guard isBesideFree else {
            hosts[host].waitsSince = nil
            return
        }
        let since = max(hosts[host].waitsSince ?? now, freeSince ?? now)
        hosts[host].waitsSince = since
        report.longestBesideFree = max(report.longestBesideFree, seconds(now - since))
    }

    /// Places that were taken meanwhile are not the ones that somebody waited beside.
    private mutating func watchFree() {
        guard settledFrom <= now else {
            freeSince = nil
            return
        }
        if table.taken < table.total - table.spare {
            if freeSince == nil { freeSince = now }
            return
        }
        guard let since = freeSince else { return }
        freeSince = nil
        for host in hosts.indices {
            guard let waits = hosts[host].waitsSince else { continue }
            report.longestBesideFree = max(
                report.longestBesideFree, seconds(now - max(waits, since)))
        }
    }

    // MARK: Chance

    mutating func chance(_ range: ClosedRange<Int>) -> Int { Int.random(in: range, using: &random) }

    mutating func hop() -> Duration { .microseconds(chance(200...20_000)) }

    func seconds(_ value: Double) -> Duration { .nanoseconds(Int64(value * 1e9)) }

    func seconds(_ duration: Duration) -> Double { Double(duration.wholeNanoseconds) / 1e9 }

    var stamp: String { "\(now.nanoseconds / 1_000_000) ms" }

    func tell(_ line: @autoclosure () -> String) { trace?("\(stamp) \(line())") }
}

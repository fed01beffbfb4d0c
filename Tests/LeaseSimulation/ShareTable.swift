// SPDX-License-Identifier: Apache-2.0

package import LeaseCore

/// What `share.sql` does, in Swift: `ShareTableTests` compares the two on PostgreSQL.
package struct ShareTable {
    package struct Row: Equatable {
        package var weight: Int
        package var share = 0
        package var bonus = false
        package var used: Int
        package var want: Int
        package var backends: Set<Int>
        package var number: Int64
        package var clock: Int64
        package var until: Int64 = 0
        package var askedAt: Instant
    }

    /// A connection as `pg_stat_activity` shows it.
    package struct Backend {
        package var id: Int
        package var startedAt: Instant

        package init(id: Int, startedAt: Instant) {
            self.id = id
            self.startedAt = startedAt
        }
    }

    package var total: Int
    package var spare: Int
    package private(set) var rows: [Int: Row] = [:]
    package private(set) var taken = 0
    package private(set) var hosts = 0
    package private(set) var period: Int64 = 5000
    package private(set) var level = Double.infinity
    package private(set) var extra = 0
    package private(set) var surplus = 0
    package private(set) var clock: Int64 = 0
    private var levelledAt: Int64?
    private var era = 1
    /// How often all rows were read.
    package private(set) var levellings = 0

    package init(total: Int, spare: Int) {
        self.total = total
        self.spare = spare
    }

    private var places: Int { total - min(spare, total - 1) }

    /// PostgreSQL was started anew, crashed, or is another one now.
    package mutating func clear() {
        rows = [:]
        taken = 0
        hosts = 0
        period = 5000
        level = .infinity
        extra = 0
        surplus = 0
        levelledAt = nil
        era += 1
        clock = 0
    }

    /// nil: the question was overtaken.
    package mutating func ask(
        _ question: ShareQuestion, of holder: Int, weight: Int, backends: Set<Int>,
        alive: () -> [Backend], now: Instant
    ) -> ShareAnswer? {
        if let known = rows[holder], question.number <= known.number { return nil }
        if question.era == "\(era)" { count(question.clock, question.since) }
        let known = rows[holder]
        var mine =
            known
            ?? Row(
                weight: weight, used: 0, want: 0, backends: [], number: 0, clock: 0, askedAt: now)
        mine.weight = weight
        mine.used = question.used
        mine.want = question.want
        mine.backends = backends
        mine.number = question.number
        mine.clock = clock
        mine.askedAt = now
        mine.until = clock + 6 * period
        rows[holder] = mine
        if mustLevel(isKnown: known != nil, mine) {
            setLevel(alive())
            mine = rows[holder] ?? mine
        }
        var target = due(mine)
        if mine.want <= target {
            mine.bonus = false
            if mine.want == 0, hosts > places { target = 0 }
        } else if mine.bonus, surplus > 0 {
            mine.bonus = false
            surplus -= 1
        } else if !mine.bonus, extra > 0, taken < places {
            mine.bonus = true
            extra -= 1
        }
        if mine.bonus { target += 1 }
        let before = mine.share
        let goal = known == nil ? max(target, mine.used) : target
        if before >= goal {
            mine.share = min(before, max(target, mine.used))
        } else {
            var room = places - taken
            if before > 0, room > 0 {
                // Those that have none come first, while they ask.
                room -= rows.values.count {
                    $0.share == 0 && $0.want > 0 && clock - $0.clock <= 3 * period / 10
                }
            }
            mine.share = before + max(0, min(goal - before, room))
        }
        taken += mine.share - before
        mine.until = clock + 6 * period
        rows[holder] = mine
        return ShareAnswer(
            share: mine.share, target: target, free: max(0, places - taken), total: total,
            hosts: hosts, period: period, era: "\(era)", clock: clock)
    }

    /// Who asked while nobody counted was written down too early.
    private mutating func count(_ base: Int64, _ since: Int64) {
        let leap = base + since - clock
        guard leap > 0 else { return }
        if leap > period / 2 {
            for (holder, row) in rows where row.clock >= base {
                rows[holder]?.clock += leap
                rows[holder]?.until += leap
            }
        }
        clock += leap
    }

    package mutating func leave(_ holder: Int) {
        guard let row = rows.removeValue(forKey: holder) else { return }
        taken -= row.share
    }

    private func mustLevel(isKnown: Bool, _ mine: Row) -> Bool {
        guard let levelledAt else { return true }
        if clock - levelledAt >= period { return true }
        guard clock - levelledAt >= period / 10 else { return false }
        if !isKnown, level < .infinity { return true }
        return mine.want > mine.share
            && (mine.share == 0 || (level < .infinity) == (taken < places))
    }

    private func due(_ row: Row) -> Int {
        let more = max(row.want, 1) - 1
        let byLevel = (level * Double(row.weight)).rounded(.down)
        return 1 + (byLevel < Double(more) ? Int(byLevel) : more)
    }

    private mutating func setLevel(_ alive: [Backend]) {
        levellings += 1
        shrinkGone(alive)
        hosts = rows.values.count { $0.until >= clock }
        let claims = claims()
        let kept = rows.values.filter { $0.until < clock }.reduce(0) { $0 + $1.share }
        let places = places - kept
        level = max(0, Self.level(claims, places - claims.count))
        extra = 0
        surplus = 0
        if level < .infinity {
            extra = max(0, places - claims.values.reduce(0) { $0 + due($1) })
            let over = claims.values.count { $0.bonus && $0.want > due($0) }
            surplus = max(0, over - extra)
            extra = max(0, extra - over)
        }
        // PostgreSQL rounds a half to the even number.
        let grown = 5000 * max(1, Double(hosts) / 100).squareRoot()
        period = Int64(grown.rounded(.toNearestOrEven))
        levelledAt = clock
    }

    /// Who has a claim now, and to how many: what is silent claims what it has.
    private func claims() -> [Int: Row] {
        var claims: [Int: Row] = [:]
        for (holder, row) in rows where row.until >= clock {
            let isSilent = clock - row.clock > 3 * period / 10
            if isSilent, row.share == 0 { continue }
            var row = row
            if isSilent { row.want = min(row.want, row.share) }
            // Where not all can have a place, one that wants none is due none.
            if row.want == 0, hosts > places { continue }
            claims[holder] = row
        }
        return claims
    }

    /// Shares that have run out shrink to the connections that are still there.
    private mutating func shrinkGone(_ alive: [Backend]) {
        let gone = rows.filter { $0.value.until < clock }.keys.sorted()
        if gone.isEmpty { return }
        var told: [Int: Int] = [:]
        for row in rows.values { for backend in row.backends { told[backend, default: 0] += 1 } }
        for holder in gone {
            guard let row = rows[holder] else { continue }
            let mayBeIts = alive.count { backend in
                if row.backends.contains(backend.id) { return true }
                return backend.startedAt > row.askedAt.advanced(by: -60_000_000_000)
                    && backend.startedAt
                        < row.askedAt.advanced(by: 60_000_000_000 + 6 * period * 1_000_000)
                    && told[backend.id, default: 0] == 0
            }
            let left = min(row.share, mayBeIts)
            taken += left - row.share
            rows[holder]?.share = left
            guard left == 0 else { continue }
            for backend in row.backends { told[backend]! -= 1 }
            rows[holder] = nil
        }
    }

    /// The highest level at which all that is due fits into `places` beyond everybody's first.
    private static func level(_ claims: [Int: Row], _ places: Int) -> Double {
        let wishes = claims.map { key, row in
            let more = max(row.want, 1) - 1
            return (
                wish: Double(more) / Double(row.weight), more: more, weight: row.weight, key: key
            )
        }.sorted { ($0.wish, $0.key) < ($1.wish, $1.key) }
        var left = places
        var weights = wishes.reduce(0) { $0 + $1.weight }
        for wish in wishes {
            let level = Double(left) / Double(weights)
            if level <= wish.wish { return level }
            left -= wish.more
            weights -= wish.weight
        }
        return .infinity
    }
}

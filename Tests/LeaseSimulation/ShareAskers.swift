// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// A question on its way.
struct ShareAsking {
    var holder: Int
    var question: ShareQuestion
    var backends: Set<Int>
    var isAnswered: Bool
    var isWithin: Bool
    /// Its connection is kept: there is no other.
    var isKept: Bool
    /// Whoever sent it has given it up before it is read.
    var isLate: Bool
    /// Of PostgreSQL, as the sidecar knew it.
    var era: Int
}

/// A connection that asks.
struct AskingBackend {
    var holder: Int
    var startedAt: Instant
    /// It takes one of its share's places.
    var isWithin: Bool
}

/// Questions: the connection that each is asked on, and the table's answer.
extension ShareRun {
    mutating func ask(_ host: Int, isWithin: Bool) {
        let local = hosts[host].local(now)
        let question = hosts[host].share.ask(
            used: hosts[host].used, isWithin: isWithin, local)
        let holder = hosts[host].holder
        guard hosts[host].cutUntil <= now else { return }
        guard isServerUp else {
            add(.refused(host, holder: holder, number: question.number), after: hop())
            return
        }
        let kind = isCalm ? 1000 : chance(0...999)
        if kind < weather.lost { return }
        let isAnswered = kind >= weather.lost + weather.unanswered
        let isLate = kind >= 1000 - weather.late && !isCalm
        let delay = isLate ? seconds(Double(table.period) * Double(chance(0...3000)) / 1e6) : hop()
        let asking = ShareAsking(
            holder: holder, question: question,
            backends: Set(hosts[host].idle + hosts[host].busy + hosts[host].ending),
            isAnswered: isAnswered,
            isWithin: isWithin, isKept: hosts[host].used == 0 && question.want > 0, isLate: isLate,
            era: era)
        add(.askerComes(host, asking), after: delay)
    }

    /// PostgreSQL lets it in, if there is room.
    mutating func askerComes(_ host: Int, _ asking: ShareAsking) throws(Violation) {
        guard isServerUp, asking.era == era else { return }
        if weather.asksApart, askers.count >= weather.spare {
            report.crowdedOut += 1
            let number = asking.question.number
            add(.crowdedOut(host, holder: asking.holder, number: number), after: hop())
            return
        }
        if !asking.isWithin { report.onSpare += 1 }
        let asker = nextBackend
        nextBackend += 1
        // One whose PostgreSQL was started anew since takes a spare place.
        askers[asker] = AskingBackend(
            holder: asking.holder, startedAt: now,
            isWithin: asking.isWithin && !asking.isLate && table.rows[asking.holder] != nil)
        if let row = table.rows[asking.holder], asking.isWithin, !asking.isLate,
            (aliveOf[asking.holder] ?? 0) + 1 > row.share
        {
            throw Violation("host \(host) asks beside \(row.share) connections of its share")
        }
        add(.commit(host, asking, asker: asker), after: .milliseconds(chance(2...40)))
    }

    mutating func commit(
        _ host: Int, _ asking: ShareAsking, _ asker: Int
    ) throws(Violation) {
        guard isServerUp else { return }
        let (holder, question) = (asking.holder, asking.question)
        report.questions += 1
        // One that says nothing any more is ended by PostgreSQL (idle_session_timeout).
        add(.askerEnds(asker), after: .seconds(5))
        let backends = backends
        // The table knows askers by their application_name.
        let alive = {
            backends.map { ShareTable.Backend(id: $0.key, startedAt: $0.value.startedAt) }
        }
        let before = table.taken
        let answer = table.ask(
            question, of: holder, weight: hosts[host].weight, backends: asking.backends,
            alive: alive, now: now)
        if table.taken > max(before, table.total - table.spare) {
            throw Violation("the shares add up to \(table.taken) of \(table.total)")
        }
        if weather.hosts <= 200 || report.questions % 500 == 0 {
            let sum = table.rows.values.reduce(0) { $0 + $1.share }
            if sum != table.taken { throw Violation("\(sum) shares counted as \(table.taken)") }
            for (holder, row) in table.rows where (aliveOf[holder] ?? 0) > row.share {
                throw Violation(
                    "holder \(holder) has \(aliveOf[holder] ?? 0) connections under a share of \(row)"
                )
            }
        }
        tell(
            "host \(host) [\(hosts[host].idle.count) \(hosts[host].busy.count) \(hosts[host].connecting) \(hosts[host].closing)]: \(question) -> \(answer.map { "\($0)" } ?? "overtaken"), clock \(table.clock), level \(table.level), \(table.taken) taken"
        )
        if let answer, asking.isAnswered {
            let number = question.number
            add(
                .answer(
                    host, holder: holder, number: number, answer, asker: asker,
                    isKept: asking.isKept && answer.share > 0), after: hop())
        }
    }
}

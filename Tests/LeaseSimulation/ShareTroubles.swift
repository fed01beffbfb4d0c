// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// What goes wrong, and what is fair.
extension ShareRun {
    mutating func makeTrouble() {
        guard !isCalm else { return }
        let host = chance(0...hosts.count - 1)
        switch chance(0...9) {
        case 0, 1: moveDemand()
        case 2:
            tell("host \(host) is stopped")
            hosts[host].stoppedUntil = now + .seconds(chance(1...90))
        case 3:
            tell("host \(host) is cut off")
            hosts[host].cutUntil = now + .seconds(chance(1...90))
            add(.look(host), at: hosts[host].cutUntil)
        case 4: kill(host, lingers: false)
        case 5: kill(host, lingers: true)
        case 6:
            tell("host \(host) leaves")
            hosts[host].isLeaving = true
            hosts[host].demand = 0
            look(host)
        case 7: restartServer()
        case 8: for host in hosts.indices where hosts[host].isRunning { demand(host, 50) }
        default: stopMany()
        }
        add(.trouble, after: .seconds(weather.calm * Double(chance(1...20)) / 10))
    }

    private mutating func moveDemand() {
        for host in hosts.indices where chance(0...2) == 0 {
            demand(host, [0, 0, 1, 3, 10, 40][chance(0...5)])
        }
    }

    private mutating func demand(_ host: Int, _ count: Int) {
        guard !hosts[host].isLeaving else { return }
        hosts[host].demand = count
        add(.look(host), after: .zero)
    }

    private mutating func stopMany() {
        tell("a fifth is stopped")
        for host in hosts.indices where chance(0...4) == 0 {
            hosts[host].stoppedUntil = now + .seconds(chance(1...90))
        }
    }

    /// Its connections end with it; after a loss of power, PostgreSQL finds out much later.
    private mutating func kill(_ host: Int, lingers: Bool) {
        guard hosts[host].isRunning else { return }
        tell("host \(host) is killed, its connections \(lingers ? "stay" : "end")")
        let holder = hosts[host].holder
        // In order: the same seed has to draw the same lots.
        for backend in backends.keys.sorted() where backends[backend]?.holder == holder {
            add(
                .backendEnds(backend), after: lingers ? .seconds(chance(5...120)) : .milliseconds(5)
            )
        }
        for asker in askers.keys.sorted() where askers[asker]?.holder == holder {
            add(.askerEnds(asker), after: .milliseconds(5))
        }
        restart(host, after: .seconds(chance(1...30)))
    }

    mutating func restart(_ host: Int, after pause: Duration) {
        hosts[host].isRunning = false
        add(.starts(host), after: pause)
    }

    mutating func start(_ host: Int) {
        var fresh = ShareHost(
            holder: nextHolder, seed: random.next(), asksApart: weather.asksApart)
        nextHolder += 1
        fresh.weight = hosts[host].weight
        fresh.clockRate = hosts[host].clockRate
        fresh.clockOffset = hosts[host].clockOffset
        fresh.demand = chance(0...20)
        hosts[host] = fresh
        look(host)
    }

    mutating func leave(_ host: Int) {
        tell("host \(host) is gone")
        dismissWitness(host)
        if isServerUp, hosts[host].cutUntil <= now { table.leave(hosts[host].holder) }
        // A question that is out when its sidecar ends takes a spare place.
        for asker in askers.keys where askers[asker]?.holder == hosts[host].holder {
            askers[asker]?.isWithin = false
        }
        if hosts[host].isRetired {
            hosts[host].isRunning = false
            return
        }
        restart(host, after: .seconds(chance(1...30)))
    }

    /// All connections end, and the tables with them.
    private mutating func restartServer() {
        guard isServerUp else { return }
        tell("PostgreSQL is started anew")
        isServerUp = false
        era += 1
        table.clear()
        backends = [:]
        aliveOf = [:]
        askers = [:]
        // Who has no connection loses none, and does not hear of it.
        for host in hosts.indices where hosts[host].isRunning {
            if hosts[host].open == 0, hosts[host].witness == nil { continue }
            hosts[host].witness = nil
            hosts[host].idle = []
            hosts[host].busy = []
            add(.lost(host, holder: hosts[host].holder), after: .milliseconds(chance(0...50)))
        }
        // Another one may be there soon.
        let pause = chance(0...1) == 0 ? chance(60...1500) : chance(100...20_000)
        add(.serverStarts, after: .milliseconds(pause))
    }

    /// One more, after which everybody is well: for how long it lasts.
    mutating func lastTrouble() -> Duration {
        for host in hosts.indices { hosts[host].isLeaving = false }
        switch chance(0...2) {
        case 0:
            moveDemand()
            return .zero
        case 1:
            tell("a fifth is stopped for eight periods")
            let stop = seconds(Double(table.period) * 8 / 1000)
            for host in hosts.indices where host % 5 == 0 { hosts[host].stoppedUntil = now + stop }
            for host in hosts.indices { demand(host, chance(0...40)) }
            return stop
        default:
            restartServer()
            return .seconds(20)
        }
    }

    /// Everybody that runs has what max-min gives it, but for one; and nothing that somebody wants is left.
    var isFair: Bool {
        let present = hosts.filter { !$0.isRetired }
        let running = present.filter(\.isRunning)
        guard running.count == present.count else { return false }
        let wants = running.map { (want: max(1, $0.demand), weight: $0.weight) }
        let places = table.total - table.spare
        guard wants.count <= places else {
            return running.reduce(0) { $0 + $1.places } >= min(
                places, wants.reduce(0) { $0 + $1.want }) - 1
        }
        let parts = Self.fairParts(wants, places)
        // One that makes room for its question has its part.
        for (host, part) in zip(running, parts) where host.places < min(host.demand, part) - 1 {
            return false
        }
        let open = running.reduce(0) { $0 + min($1.places, $1.demand) }
        return open >= min(places, running.reduce(0) { $0 + $1.demand }) - idlePlaces(running)
    }

    /// For a run that did not come to rest.
    func describe() {
        tell(
            "level \(table.level) extra \(table.extra) surplus \(table.surplus), \(table.taken) taken"
        )
        for (number, host) in hosts.enumerated() {
            tell(
                "host \(number): wants \(host.demand), has \(host.open) of them \(host.busy.count) busy,"
                    + " \(host.connecting) + \(host.closing), \(askers.values.filter { $0.holder == host.holder }); weight \(host.weight)"
                    + " \(String(describing: host.share.answer)) \(String(describing: table.rows[host.holder]))"
            )
        }
    }

    /// One place is kept for a host that wants nothing.
    private func idlePlaces(_ running: [ShareHost]) -> Int {
        running.count { $0.demand == 0 }
    }

    /// Rounded down.
    private static func fairParts(_ wants: [(want: Int, weight: Int)], _ places: Int) -> [Int] {
        var low = 0.0
        var high = Double(places)
        func parts(_ level: Double) -> [Double] {
            wants.map { 1 + min(Double($0.want - 1), level * Double($0.weight)) }
        }
        for _ in 0..<60 {
            let middle = (low + high) / 2
            if parts(middle).reduce(0, +) <= Double(places) { low = middle } else { high = middle }
        }
        return parts(low).map { Int($0) }
    }
}

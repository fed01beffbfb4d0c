// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import Testing

/// Which host of a list is asked, which one is left, and how soon the right one is found.
@Suite struct HostRosterTests {
    private static func hosts(_ count: Int) -> [ServerHost] {
        (0..<count).map { ServerHost(entry: $0, name: "h\($0)", address: "", port: "5432") }
    }

    private static func roster(
        _ wanted: WantedServer = .any, _ choice: HostChoice = .roundRobin
    ) -> HostRoster {
        HostRoster(wanted: wanted, choice: choice, longestRest: .seconds(15))
    }

    /// The order of a whole walk in which no host is right.
    private static func order(
        _ roster: inout HostRoster, _ hosts: [ServerHost], at now: Instant = .zero,
        _ trouble: HostTrouble = .refused
    ) -> [String] {
        var walk = roster.walk(over: hosts, now: now)
        var names: [String] = []
        while let host = walk.next() {
            names.append(host.name)
            walk.pass(trouble)
        }
        return names
    }

    @Test func eachConnectionBeginsAtTheNextHost() {
        let hosts = Self.hosts(3)
        var roster = Self.roster()
        let firsts = (0..<6).map { _ in
            var walk = roster.walk(over: hosts, now: .zero)
            return walk.next()?.name
        }
        #expect(firsts == ["h0", "h1", "h2", "h0", "h1", "h2"])
    }

    @Test func theAddressesOfANameTakeTurnsWithinIt() {
        let hosts = [
            ServerHost(entry: 0, name: "a", address: "1", port: ""),
            ServerHost(entry: 0, name: "a", address: "2", port: ""),
            ServerHost(entry: 1, name: "b", address: "3", port: ""),
        ]
        var roster = Self.roster()
        let firsts = (0..<4).map { _ in
            var walk = roster.walk(over: hosts, now: .zero)
            return walk.next()!.address
        }
        #expect(firsts == ["1", "3", "2", "3"])
    }

    @Test func stickyStaysUntilItFailsAndThenTakesTheNext() {
        let hosts = Self.hosts(3)
        var roster = Self.roster(.any, .disable)
        #expect(roster.connected(hosts[1], now: .zero) == nil)
        #expect(Self.order(&roster, hosts) == ["h1", "h2", "h0"])
        roster.failed(hosts[1], .refused, now: .zero)
        #expect(Self.order(&roster, hosts) == ["h2", "h0", "h1"])
        let move = roster.connected(hosts[2], now: .zero + .seconds(2))
        #expect(move?.from == hosts[1] && move?.to == hosts[2] && move?.after == .seconds(2))
        #expect(roster.isAbandoned(hosts[1]))
    }

    @Test func onlyOneIsRightAndAllOthersAreLeft() {
        let hosts = Self.hosts(3)
        var roster = Self.roster(.primary)
        #expect(roster.isUnsettled)
        _ = roster.connected(hosts[0], now: .zero)
        #expect(!roster.isUnsettled && !roster.isAbandoned(hosts[0]))
        roster.failed(hosts[0], .unwanted, now: .zero)
        #expect(roster.isUnsettled)
        // Until another one is found, it stays: there is nothing better.
        #expect(!roster.isAbandoned(hosts[0]))
        _ = roster.connected(hosts[2], now: .zero)
        #expect(roster.isAbandoned(hosts[0]) && roster.isAbandoned(hosts[1]))
        // An old primary that comes back is not asked while the one in use answers.
        #expect(Self.order(&roster, hosts, at: .zero + .seconds(60)).first == "h2")
    }

    @Test func anAddressThatANameHasNoMoreIsNoLongerInUse() {
        let hosts = Self.hosts(2)
        var roster = Self.roster(.readWrite)
        _ = roster.connected(hosts[0], now: .zero)
        roster.keep([hosts[1]], now: .zero)
        #expect(roster.isUnsettled && roster.current == nil)
        let move = roster.connected(hosts[1], now: .zero + .seconds(1))
        #expect(move?.from == hosts[0] && move?.after == .seconds(1))
    }

    @Test func restsGrowAndOneAttemptAtATimeFindsOutWhoIsBack() {
        let hosts = Self.hosts(2)
        var roster = Self.roster()
        var now = Instant.zero
        var asked = 0
        // Ten connections a second for a minute.
        for _ in 0..<600 {
            var walk = roster.walk(over: hosts, now: now)
            while let host = walk.next() {
                if host == hosts[1] {
                    _ = roster.connected(host, now: now)
                    break
                }
                asked += 1
                walk.pass(.silent)
                roster.failed(host, .silent, now: now)
            }
            now = now + .milliseconds(100)
        }
        #expect((4...10).contains(asked))
        // Attempts that begin together do not all ask it.
        now = now + .seconds(30)
        var firsts: [String] = []
        for _ in 0..<4 {
            var walk = roster.walk(over: hosts, now: now)
            firsts.append(walk.next()!.name)
        }
        #expect(firsts.count { $0 == "h0" } <= 1)
    }

    @Test func whoPrefersAStandbyTakesAPrimaryBeforeItAsksWhoIsAway() {
        let hosts = Self.hosts(2)
        var roster = Self.roster(.preferStandby)
        roster.failed(hosts[0], .silent, now: .zero)
        var walk = roster.walk(over: hosts, now: .zero)
        #expect(walk.next() == hosts[1] && walk.attributes == "standby")
        walk.pass(.unwanted)
        #expect(walk.next() == hosts[1] && walk.attributes == nil)
        #expect(walk.passedOver.isEmpty)
    }

    @Test func whoSaysNothingIsGivenMoreTimeOnlyIfNobodyAnswers() {
        let hosts = Self.hosts(2)
        var roster = Self.roster(.primary)
        var walk = roster.walk(over: hosts, now: .zero)
        #expect(walk.next() == hosts[0] && walk.limit == HostWalk.patience)
        walk.pass(.silent)
        #expect(walk.next() == hosts[1])
        walk.pass(.refused)
        #expect(walk.next() == hosts[0] && walk.limit == nil)
        walk.pass(.silent)
        #expect(walk.next() == nil)

        walk = roster.walk(over: hosts, now: .zero)
        _ = walk.next()
        walk.pass(.silent)
        _ = walk.next()
        walk.pass(.unwanted)
        #expect(walk.next() == nil)
        var single = roster.walk(over: [hosts[0]], now: .zero)
        #expect(single.next() == hosts[0] && single.limit == nil)
    }

    /// A world of hosts that die, hang and change their roles: when they rest, two attempts of half a second each find
    /// the right one, and no walk asks a host twice in the same way.
    @Test(arguments: 0..<200) func theRightHostIsFound(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let hosts = Self.hosts(Int.random(in: 2...5, using: &random))
        let wanted = WantedServer.allCases.randomElement(using: &random)!
        var roster = Self.roster(wanted, HostChoice.allCases.randomElement(using: &random)!)
        var states: [HostState] = hosts.map { _ in .primary }
        var now = Instant.zero
        for _ in 0..<60 {
            for index in hosts.indices where Bool.random(using: &random) {
                states[index] = HostState.allCases.randomElement(using: &random)!
            }
            let right = hosts.indices.contains { states[$0].isRight(for: wanted) }
            var found = false
            for _ in 0..<2 where !found {
                now = now + .milliseconds(Int.random(in: 1...1500, using: &random))
                found = Self.attempt(&roster, hosts, states, now)
            }
            #expect(found == right, "\(wanted) \(states)")
        }
    }

    private static func attempt(
        _ roster: inout HostRoster, _ hosts: [ServerHost], _ states: [HostState], _ now: Instant
    ) -> Bool {
        var walk = roster.walk(over: hosts, now: now)
        var asked: [String] = []
        while let host = walk.next() {
            let state = states[host.entry]
            asked.append("\(host.name) \(walk.attributes ?? "any") \(walk.limit == nil)")
            switch state {
            case .refuses, .hangs:
                let trouble = state == .hangs ? HostTrouble.silent : .refused
                walk.pass(trouble)
                roster.failed(host, trouble, now: now)
            case .primary, .standby:
                let asksFor = walk.attributes.flatMap(WantedServer.init) ?? .any
                guard state.isRight(for: asksFor) else {
                    walk.pass(.unwanted)
                    roster.failed(host, .unwanted, now: now)
                    continue
                }
                _ = roster.connected(host, now: now)
                #expect(!roster.isAbandoned(host))
                #expect(asked.count == Set(asked).count)
                return true
            }
        }
        #expect(asked.count == Set(asked).count)
        return false
    }

    private enum HostState: CaseIterable {
        case primary, standby, refuses, hangs

        func isRight(for wanted: WantedServer) -> Bool {
            switch (self, wanted) {
            case (.refuses, _), (.hangs, _): false
            case (_, .any), (_, .preferStandby): true
            case (.primary, .readWrite), (.primary, .primary): true
            case (.standby, .readOnly), (.standby, .standby): true
            default: false
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import Testing

/// Every state of a server connection with every event about one: where it goes, whether it is
/// dropped as late, or ends the process.
struct SchedulerStateTableTests {
    enum Event: String, CaseIterable, Codable, Sendable {
        case connected, connectFailed, validationSucceeded, validationFailed, resetSucceeded
        case resetFailed, lost, cancelStarted, cancelFinished, closed, returned
        case handedOut

        func event(_ server: ServerID) -> SchedulerEvent {
            switch self {
            case .connected: .serverConnected(server)
            case .connectFailed: .serverConnectFailed(server, Failures.refused)
            case .validationSucceeded: .validationSucceeded(server)
            case .validationFailed: .validationFailed(server)
            case .resetSucceeded: .resetSucceeded(server, profile: .serverDefault)
            case .resetFailed: .resetFailed(server)
            case .lost: .serverLost(server)
            case .cancelStarted: .cancelStarted(server)
            case .cancelFinished: .cancelFinished(server)
            case .closed: .serverClosed(server)
            case .returned: .leaseReturned(server, .clean, profile: .serverDefault)
            case .handedOut: .serverHandedOut(server, to: PeerID(1))
            }
        }
    }

    enum Outcome: Equatable {
        case goes(to: ServerState)
        /// The slot is free.
        case gone
        /// Nothing happens, and it is counted.
        case late
        case illegal
    }

    static func outcome(_ state: ServerState, _ event: Event) -> Outcome {
        switch (state, event) {
        case (.connecting, .connected): .goes(to: .idle)
        case (.connecting, .connectFailed): .goes(to: .closing)
        case (.idle, .lost): .goes(to: .closing)
        case (.idle, .cancelStarted): .goes(to: .cancelling)
        case (.validating, .validationSucceeded): .goes(to: .idle)
        case (.validating, .validationFailed), (.validating, .lost): .goes(to: .closing)
        case (.validating, .cancelStarted): .goes(to: .validating)
        case (.leased, .returned): .goes(to: .idle)
        case (.leased, .lost), (.leased, .cancelStarted), (.leased, .handedOut): .goes(to: .leased)
        case (.resetting, .resetSucceeded): .goes(to: .idle)
        case (.resetting, .resetFailed), (.resetting, .lost): .goes(to: .closing)
        case (.resetting, .cancelStarted): .goes(to: .resetting)
        case (.cancelling, .cancelFinished): .goes(to: .idle)
        case (.cancelling, .cancelStarted): .goes(to: .cancelling)
        case (.cancelling, .lost): .goes(to: .closing)
        case (.closing, .closed): .gone
        case (.closing, .cancelFinished), (.closing, .handedOut): .illegal
        case (.closing, _): .late
        default: .illegal
        }
    }

    /// A harness with one connection in this state, and no one who waits.
    static func harness(
        in state: ServerState, confinedTo peer: UInt32? = nil
    ) -> (SchedulerHarness, ServerID) {
        var harness = SchedulerHarness()
        harness.open(size: 1) { policy in
            policy.checkDelay = state == .validating ? .zero : nil
        }
        if state == .connecting {
            let server = opened(harness.request(1))[0]
            harness.send(.requestWithdrawn(SchedulerHarness.client(1)))
            return (harness, server)
        }
        let server = harness.lease(1, peer: peer)
        if let peer { harness.send(.serverHandedOut(server, to: PeerID(peer))) }
        switch state {
        case .leased, .connecting: break
        case .idle: harness.giveBack(server)
        case .validating:
            harness.giveBack(server)
            harness.request(2, peer: peer)
            harness.send(.requestWithdrawn(SchedulerHarness.client(2)))
        case .resetting: harness.giveBack(server, .dirty)
        case .cancelling:
            harness.send(.cancelStarted(server))
            harness.giveBack(server)
        case .closing: harness.giveBack(server, .broken)
        }
        return (harness, server)
    }

    @Test(arguments: ServerState.allCases, Event.allCases)
    func goesWhereTheTableSays(_ state: ServerState, _ event: Event) {
        var (harness, server) = Self.harness(in: state)
        #expect(harness.state(server) == state)
        switch Self.outcome(state, event) {
        case .goes(let next):
            harness.send(event.event(server))
            #expect(harness.state(server) == next)
            #expect(harness.scheduler.staleEvents == 0)
        case .gone:
            harness.send(event.event(server))
            #expect(harness.state(server) == nil)
        case .late:
            harness.send(event.event(server))
            #expect(harness.state(server) == state)
            #expect(harness.scheduler.staleEvents == 1)
        case .illegal: break
        }
    }

    /// The process that a connection is confined to ends, then what the connection does.
    @Test(arguments: ServerState.allCases)
    func aProcessTakesWhatIsConfinedToItAlong(_ state: ServerState) {
        if state == .connecting { return }
        var (harness, server) = Self.harness(in: state, confinedTo: 1)
        #expect(harness.send(.peerGone(PeerID(2))).isEmpty)
        #expect(harness.state(server) == state)
        let effects = harness.send(.peerGone(PeerID(1)))
        switch state {
        case .idle, .validating, .resetting: #expect(closed(effects) == [server: .confined])
        case .leased:
            #expect(effects.isEmpty)
            #expect(closed(harness.giveBack(server)) == [server: .confined])
        case .cancelling:
            #expect(effects.isEmpty)
            #expect(closed(harness.send(.cancelFinished(server))) == [server: .confined])
        case .connecting, .closing: #expect(effects.isEmpty)
        }
        #expect(harness.state(server) == .closing)
        #expect(harness.pool().confined == 0)
    }

    /// And one that is confined to nobody stays, whichever process ends.
    @Test(arguments: ServerState.allCases)
    func aProcessThatEndsLeavesTheOthersConnections(_ state: ServerState) {
        var (harness, server) = Self.harness(in: state)
        #expect(harness.send(.peerGone(PeerID(1))).isEmpty)
        #expect(harness.state(server) == state)
        #expect(harness.scheduler.staleEvents == 0)
    }

    @Test(arguments: Event.allCases)
    func whatIsGoneIsCountedAndIgnored(_ event: Event) {
        var (harness, server) = Self.harness(in: .closing)
        harness.send(.serverClosed(server))
        let before = harness.scheduler.serverSummaries
        harness.send(event.event(server))
        #expect(harness.scheduler.staleEvents == 1)
        #expect(harness.scheduler.serverSummaries == before)
    }

    @Test func theNextUserOfASlotIsNotMeant() {
        var (harness, old) = Self.harness(in: .closing)
        harness.send(.serverClosed(old))
        let server = harness.lease(2)
        #expect(server.slot == old.slot && server.generation != old.generation)
        harness.send(.serverLost(old))
        harness.send(.leaseReturned(old, .broken, profile: .serverDefault))
        #expect(harness.state(server) == .leased)
        #expect(harness.scheduler.staleEvents == 2)
    }

    /// Each illegal pair ends a process of its own.
    @Test(arguments: ServerState.allCases)
    func whatCannotHappenEndsTheProcess(_ state: ServerState) async {
        for event in Event.allCases where Self.outcome(state, event) == .illegal {
            let stateName = state.rawValue
            await #expect(processExitsWith: .failure) {
                [
                    stateName = stateName as String, event = event as Event
                ] in
                let state = ServerState(rawValue: stateName)!
                var (harness, server) = SchedulerStateTableTests.harness(in: state)
                harness.send(event.event(server))
            }
        }
    }

    @Test func aSecondProcessIsNotHandedTheConnection() async {
        await #expect(processExitsWith: .failure) {
            var (harness, server) = SchedulerStateTableTests.harness(in: .leased, confinedTo: 1)
            harness.send(.serverHandedOut(server, to: PeerID(2)))
        }
    }

    @Test func aClientThatWaitsCannotAskAgain() async {
        await #expect(processExitsWith: .failure) {
            var harness = SchedulerHarness()
            harness.open()
            harness.request(1)
            harness.request(1)
        }
    }
}

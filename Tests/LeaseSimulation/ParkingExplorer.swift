// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// Every interleaving of two workers and the engine as it ships around token and page, on a pool of one connection.
///
/// A worker's step is one access: it looks at the page, puts the token in or out, rings, sends or reads a message, dies.
/// A step of the broker is one event, in which workers may take steps on their pages wherever the broker has written to
/// a page or read from it. That each side sees what the other has written is what the barriers are for. States are told apart by what both sides can see; each is reached once, by
/// playing its steps again from the beginning, since an engine cannot be copied.
package struct ParkingExplorer {
    /// How workers may behave.
    package struct Setting: Sendable {
        package var sharesProcess = false
        /// The first one lies: it uses what it has parked, parks what it uses, and puts the token in twice.
        package var lies = false
        /// The first one may be killed at any step.
        package var dies = false
        /// What the first one may do at most; the second asks once, and gives back.
        package var moves = 3

        package init() {}
    }

    package struct Report: Sendable {
        package var states = 0
        package var ends = 0
        /// How often each step was taken.
        package var taken: [String: Int] = [:]
        package var violation: String?
    }

    package static func explore(_ setting: Setting) -> Report {
        var report = Report()
        var seen: Set<String> = []
        var open: [[ParkingStep]] = [[]]
        while let path = open.popLast() {
            var state = ParkingState(setting)
            for step in path { state.take(step) }
            report.violation = state.violation
            if report.violation == nil {
                guard seen.insert(state.fingerprint).inserted else { continue }
                report.states += 1
                let next = state.steps
                for step in next { open.append(path + [step]) }
                if next.isEmpty {
                    report.ends += 1
                    report.violation = state.windUp()
                }
                for step in path.suffix(1) { report.taken["\(step)", default: 0] += 1 }
            }
            if let violation = report.violation {
                report.violation =
                    "\(violation); after \(path.map { "\($0)" }.joined(separator: ", "))"
                return report
            }
        }
        return report
    }
}

private struct ParkingState: ~Copyable {
    let setting: ParkingExplorer.Setting
    let world: EngineWorld
    var engine: Engine
    var now = Instant(nanoseconds: 1_000_000_000)
    var workers: [ParkingWorker] = []
    var servers: [ServerSocket] = []
    var cancels: [ServerID] = []
    var violation: String?
    var looksLeft = 2
    var pausesLeft = 30
    /// What happens within the broker's next step.
    var meanwhile: (worker: Int, pause: Int, steps: Int)?
    /// The engine does not keep it.
    let times = GroupTimes(group: "g")

    init(_ setting: ParkingExplorer.Setting) {
        self.setting = setting
        world = EngineWorld(seed: 1, takesLess: false, directLeases: true)
        var settings = EngineSettings()
        settings.serverResetQuery = "DISCARD ALL"
        settings.parkTimeout = .seconds(10)
        engine = Engine(
            world: world, settings: settings, policy: BrokerPolicy(), seed: 1, now: now)
        engine.scheduler.checksInvariants = true
        var policy = PoolPolicy(size: 1)
        policy.checkDelay = nil
        policy.idleTimeout = nil
        policy.lifetime = nil
        engine.order(.groupOpened(GroupID(1), GroupPolicy()), now: now)
        engine.openPool(
            PoolID(1),
            PoolTerms(
                database: "d",
                mode: RelayMode(
                    pooling: .transaction, maxPreparedStatements: 0, maxMessageSize: 1 << 20),
                limits: LeaseLimits(), connectQuery: nil, serverKey: 1),
            policy, startup: nil, now: now)
        for index in 0..<2 {
            let id = engine.accept(isUnix: true, loginDeadline: nil, now: now)
            let peer = PeerID(setting.sharesProcess ? 1 : UInt32(index + 1))
            let worker = ParkingWorker(id: id, peer: peer, moves: index == 0 ? setting.moves : 2)
            world.clients[id] = worker.socket
            worker.socket.interest = .bytes
            workers.append(worker)
            let slot = engine.pools.slot(of: PoolID(1))!
            engine.admit(
                id, to: slot, group: GroupID(1), times: times,
                owner: OwnerKey(processID: Int32(peer.rawValue)), user: 1, peer: peer, settings: [],
                isUnusable: false, pending: [], now: now)
            settle()
            // A login may wait for the first server.
            answer()
        }
        for worker in workers { worker.socket.inbox = [] }
    }

    // MARK: The shell

    mutating func settle() {
        repeat {
            engine.resumeClients(now: now)
            for notice in engine.takeNotices() { deal(with: notice) }
        } while engine.hasResumable || !engine.notices.isEmpty
        check()
    }

    private mutating func deal(with notice: EngineNotice) {
        switch notice {
        case .openServer(let id, let pool, _):
            let socket = ServerSocket(id: id, pool: pool, zone: "0", capacity: 1 << 20)
            socket.isConnected = true
            world.servers[id] = socket
            servers.append(socket)
            engine.serverConnected(
                id, process: Int32(id.slot), parameters: EngineRun.parameters(zone: "0"), now: now)
        case .closeServer(let id, _, _, _):
            world.servers[id]?.isClosedByBroker = true
            if !engine.isLingering(id) { engine.serverGone(id, now: now) }
        case .serverForgotten(let id): world.servers[id] = nil
        case .sendCancel(let id):
            if let socket = servers.first(where: { $0.id == id }) { socket.backend.cancels = 1 }
            cancels.append(id)
        case .mayBeServed(let id):
            guard engine.clients.contains(id) else { return }
            let parameters = EngineRun.parameters(zone: "0")
            engine.serve(id, told: parameters, startupValues: nil, greeting: [], now: now)
        case .rejected(let id, let rejection):
            violation = "client \(id) is rejected: \(rejection.cause)"
        case .clientClosed(let id, let reason):
            if let worker = workers.first(where: { $0.id == id }), worker.belief != .dead {
                violation = "the session of \(id) ends: \(reason)"
            }
            world.clients[id] = nil
            engine.forget(id)
        case .processToWatch(let id): engine.processIsWatched(id, true)
        default: break
        }
    }

    /// All servers take what was sent to them, answer, and are read.
    private mutating func answer() {
        for socket in servers where engine.servers.contains(socket.id) {
            socket.backend.input += socket.wire
            socket.wire = []
            while socket.backend.step() {}
            guard !socket.isClosedByBroker, socket.interest.contains(.bytes),
                !socket.backend.output.isEmpty || socket.isEnded
            else { continue }
            let bytes = exchange(&socket.backend.output, with: [])
            if socket.isEnded {
                engine.serverClosed(socket.id, "the server closed the connection", now: now)
            } else {
                bytes.withUnsafeBytes { engine.serverBytes(socket.id, $0, now: now) }
            }
            settle()
        }
        while let cancel = cancels.popLast() {
            engine.cancelFinished(cancel, now: now)
            settle()
        }
    }

    // MARK: Steps

    var steps: [ParkingStep] {
        mutating get { nextSteps() }
    }

    private mutating func nextSteps() -> [ParkingStep] {
        var steps: [ParkingStep] = []
        for (index, worker) in workers.enumerated() {
            steps += self.steps(of: worker, index)
            guard engine.clients.contains(worker.id) else { continue }
            if !worker.socket.outbox.isEmpty || worker.socket.isClosed {
                steps.append(.brokerReads(index))
            }
            if worker.socket.isBellWatched, worker.socket.isBellRung {
                steps.append(.brokerHearsBell(index))
            }
        }
        if meanwhile != nil { steps = steps.filter(\.isOfBroker) }
        for (index, worker) in workers.enumerated()
        where worker.belief == .dead && !worker.hasEnded { steps.append(.processEnds(index)) }
        var isAnswering = !cancels.isEmpty
        var isParked = false
        for socket in servers where engine.servers.contains(socket.id) {
            if engine.liesParked(socket.id) { isParked = true }
            guard !socket.isClosedByBroker, socket.interest.contains(.bytes) else { continue }
            if !socket.wire.isEmpty || !socket.backend.output.isEmpty || socket.isEnded {
                isAnswering = true
            }
        }
        if isAnswering { steps.append(.serverAnswers) }
        addMeanwhile(&steps)
        guard steps.isEmpty, engine.nextDeadline != nil else { return steps }
        // What was cut off keeps its place for a while.
        let isAwaited = workers.contains { $0.belief == .asking }
        if (isParked && looksLeft > 0) || (isAwaited && pausesLeft > 0) {
            steps.append(.timeComes)
        }
        return steps
    }

    /// One of the broker's steps is possible, and something may happen within it to a page that it may touch.
    private mutating func addMeanwhile(_ steps: inout [ParkingStep]) {
        // A worker that dies does so between its own steps; the broker's look the same to it then.
        guard meanwhile == nil, !setting.dies, steps.contains(where: \.isOfBroker) else { return }
        for (index, worker) in workers.enumerated() where worker.pageStep(index) != nil {
            guard engine.clients.contains(worker.id), let held = engine.clients[worker.id].server,
                engine.servers[held].mayBeParked
            else { continue }
            for pause in 0..<3 {
                for count in 1...2 {
                    steps.append(.meanwhile(index, pause: pause, steps: count))
                }
            }
        }
    }

    private func steps(of worker: ParkingWorker, _ index: Int) -> [ParkingStep] {
        var steps: [ParkingStep] = []
        switch worker.belief {
        case .nothing: if worker.movesLeft > 0 { steps.append(.ask(index)) }
        case .asking, .returning:
            if !worker.socket.inbox.isEmpty { steps.append(.readAnswer(index)) }
        case .using:
            let parks = worker.socket.isParkable && worker.movesLeft > 0
            steps.append(parks ? .lookAtPage(index) : .giveBack(index))
            if worker.movesLeft > 1, !worker.inTransaction { steps.append(.begin(index)) }
        case .mayPark: steps.append(.park(index))
        case .mustReturn: steps.append(.giveBack(index))
        case .hasParked, .parked, .hasTaken, .mustLetLie, .hasLetLie, .mustRing:
            if let step = worker.pageStep(index) { steps.append(step) }
        case .dead: return []
        }
        guard index == 0 else { return steps }
        if setting.dies, worker.movesLeft > 0 || worker.pageStep(index) != nil {
            steps.append(.die(index))
        }
        guard worker.movesLeft > 0 else { return steps }
        if setting.lies, worker.socket.isParkable {
            if worker.belief == .parked { steps.append(.useWhatIsParked(index)) }
            if worker.owns { steps.append(.parkWhatIsUsed(index)) }
        }
        return steps
    }

    mutating func take(_ step: ParkingStep) {
        var pause = 0
        if step.isOfBroker, let within = meanwhile {
            let worker = workers[within.worker]
            world.meanwhile = {
                if pause == within.pause {
                    for _ in 0..<within.steps {
                        if let step = worker.pageStep(within.worker) { worker.take(step) }
                    }
                }
                pause += 1
            }
            meanwhile = nil
        }
        carryOut(step)
        settle()
        world.meanwhile = nil
    }

    private mutating func carryOut(_ step: ParkingStep) {
        switch step {
        case .meanwhile(let index, let pause, let steps): meanwhile = (index, pause, steps)
        case .ask(let index):
            workers[index].belief = .asking
            workers[index].movesLeft -= 1
            workers[index].socket.outbox.appendQuery("LEASE DIRECT PARK")
        case .readAnswer(let index): readAnswer(workers[index])
        case .begin(let index):
            workers[index].movesLeft -= 1
            workers[index].inTransaction = true
            use(workers[index])
        case .lookAtPage(let index), .park(let index), .lookAgain(let index), .takeBack(let index),
            .lookAtTaken(let index), .letLie(let index), .ring(let index):
            workers[index].take(step)
        case .giveBack(let index):
            let worker = workers[index]
            worker.belief = .returning
            worker.server?.descriptorOf = nil
            worker.socket.descriptor = nil
            worker.socket.outbox.appendQuery("LEASE RETURN")
        case .die(let index):
            workers[index].belief = .dead
            workers[index].socket.isClosed = true
        case .useWhatIsParked(let index):
            workers[index].movesLeft -= 1
            workers[index].hasLied = true
            use(workers[index])
        case .parkWhatIsUsed(let index):
            workers[index].movesLeft -= 1
            workers[index].hasLied = true
            workers[index].socket.isTokenIn = true
        case .brokerReads(let index): brokerReads(workers[index])
        case .brokerHearsBell(let index):
            workers[index].socket.isBellRung = false
            engine.bellRung(workers[index].id, now: now)
        case .processEnds(let index):
            workers[index].hasEnded = true
            engine.processEnded(
                workers[index].peer, watched: [], wasHandedOut: true, now: now)
        case .serverAnswers: answer()
        case .timeComes:
            let isAwaited = workers.contains { $0.belief == .asking }
            if isAwaited { pausesLeft -= 1 } else { looksLeft -= 1 }
            now = max(now, engine.nextDeadline ?? now)
            world.now = now
            engine.timeReached(now)
        }
    }

    /// It says something to the server that it has a descriptor of, rightly or not.
    private func use(_ worker: ParkingWorker) {
        guard let server = worker.server, !server.isEnded else { return }
        server.wire.appendQuery("begin")
        server.wire.appendQuery("insert d\(worker.id.slot)")
    }

    private mutating func readAnswer(_ worker: ParkingWorker) {
        let answers = RelayTranscript.ofServer(worker.socket.inbox)
        worker.socket.inbox = []
        worker.inTransaction = false
        guard worker.belief == .asking else {
            // What it puts in twice may have ended the lease before it gave it back.
            if !worker.hasLied, answers.contains(where: { $0.hasPrefix("E(") }) {
                violation = "an honest return was answered with \(answers)"
            }
            worker.belief = .nothing
            return
        }
        guard answers.contains("C(LEASE)") else {
            if !worker.hasLied { violation = "LEASE was answered with \(answers)" }
            worker.belief = .nothing
            return
        }
        worker.server = worker.socket.descriptor
        // Who lies may spoil what its own process has.
        if let server = worker.server,
            !workers.contains(where: { $0.hasLied && $0.peer == worker.peer })
        {
            let isAtRest =
                server.backend.status == .idle && server.wire.isEmpty
                && server.backend.input.isEmpty
                && server.backend.output.isEmpty
            if !isAtRest { violation = "what \(worker.id) is granted is not at rest" }
        }
        if worker.socket.descriptor == nil { worker.socket.isParkable = false }
        worker.belief = worker.socket.descriptor == nil ? .mustReturn : .using
    }

    private mutating func brokerReads(_ worker: ParkingWorker) {
        let bytes = exchange(&worker.socket.outbox, with: [])
        switch engine.reading(of: worker.id) {
        case .atItsEnd: engine.clientInputEnded(worker.id, now: now)
        case .now where bytes.isEmpty: engine.clientInputEnded(worker.id, now: now)
        case .now: bytes.withUnsafeBytes { engine.clientBytes(worker.id, $0, now: now) }
        case .later, .forTheShell: worker.socket.outbox = bytes
        }
    }

    // MARK: Promises

    private mutating func check() {
        if let broken = world.violation { violation = broken }
        if engine.scheduler.nextToReclaim(for: PoolID(1), after: nil) != nil {
            violation = "somebody waits, and a lease that may be parked was not asked for"
        }
        for worker in workers where worker.socket.isParkable && !worker.hasLied {
            let held = engine.clients.contains(worker.id) ? engine.clients[worker.id].server : nil
            let isOurs = held != nil && held == worker.server?.id
            if worker.owns, !isOurs { violation = "\(worker.id) owns what the broker has taken" }
            if worker.owns, worker.socket.isTokenIn { violation = "a token is in for who owns" }
            if !isOurs, worker.hasPlace, worker.socket.saysMayPark {
                violation = "\(worker.id) would take what the broker has taken"
            }
            let isAsked = isOurs && !worker.socket.saysMayPark
            if isAsked, worker.belief == .parked, !worker.socket.isBellRung {
                violation = "what \(worker.id) parked is waited for, and nobody looks"
            }
        }
        for socket in servers where engine.servers.contains(socket.id) {
            let client = engine.servers[socket.id].client
            guard let holder = workers.first(where: { $0.id == client }) else { continue }
            if let peer = socket.confinedTo, peer != holder.peer {
                violation = "the connection of process \(peer) is given to \(holder.peer)"
            }
            if engine.servers[socket.id].isDirect { socket.confinedTo = holder.peer }
        }
    }

    /// What tells this state from others.
    var fingerprint: String {
        var words: [String] = []
        for worker in workers {
            let socket = worker.socket
            words.append(
                "\(worker.belief) \(worker.movesLeft) \(worker.inTransaction) \(worker.hasLied) \(worker.hasEnded)"
                    + " \(socket.isTokenIn) \(socket.saysMayPark) \(socket.isBellWatched) \(socket.isBellRung)"
                    + " \(socket.isParkable) \(socket.isClosed)"
                    + " \(worker.server.map { "\($0.id)" } ?? "-")"
                    + " \(RelayTranscript.ofClient(socket.outbox)) \(RelayTranscript.ofServer(socket.inbox))"
            )
            if engine.clients.contains(worker.id) {
                let held = engine.clients[worker.id].server
                words.append(
                    "\(engine.clients[worker.id].isWaiting) \(held.map { "\($0)" } ?? "-")")
            }
        }
        for socket in servers where engine.servers.contains(socket.id) {
            let summary = engine.scheduler.summary(of: socket.id)
            let state = summary.map { "\($0.state) \($0.isToBeClosed)" } ?? "-"
            words.append(
                "\(socket.id) \(engine.servers[socket.id].activity) \(socket.isClosedByBroker) \(socket.isShutDown)"
                    + " \(state)"
                    + " \(socket.wire.count) \(socket.backend.input.count) \(socket.backend.status)"
                    + " \(socket.backend.output.count) \(engine.isFindingOut(socket.id))"
            )
        }
        let within = meanwhile.map { "\($0.worker) \($0.pause) \($0.steps)" } ?? "-"
        words.append("\(looksLeft) \(pausesLeft) \(cancels.count) \(within)")
        return words.joined(separator: "|")
    }

    /// Nothing more is done by choice: whoever asked has an answer, and nothing is left when all have gone.
    mutating func windUp() -> String? {
        for worker in workers where worker.belief == .asking {
            violation = "\(worker.id) waits for ever"
        }
        for worker in workers where worker.belief != .dead {
            worker.belief = .dead
            worker.socket.isClosed = true
            if engine.clients.contains(worker.id) { brokerReads(worker) }
            settle()
        }
        for worker in workers where !worker.hasEnded {
            worker.hasEnded = true
            engine.processEnded(worker.peer, watched: [], wasHandedOut: true, now: now)
            settle()
        }
        var left = 200
        while engine.servers.count > 0, violation == nil, left > 0 {
            left -= 1
            if left == 190 { engine.order(.poolClosed(PoolID(1)), now: now) }
            answer()
            let deadline = engine.nextDeadline ?? now + .seconds(1)
            now = max(deadline, now)
            world.now = now
            engine.timeReached(now)
            settle()
        }
        if violation == nil, engine.servers.count > 0 { violation = "a connection is left" }
        return violation
    }
}

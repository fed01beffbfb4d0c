import LeaseCore
import PostgresWire

/// The relay machine between clients that run made-up programs and backends that answer them, with
/// chance deciding who goes on, where bytes are cut, and what breaks.
///
/// Does what the broker's shell does, in small: grants, resets, prepares profiles, sends again,
/// drains.
struct RelayWorld: ~Copyable {
    /// A broken promise.
    struct Violation: Error, CustomStringConvertible {
        var description: String
    }

    final class Server {
        var backend = RelayBackend()
        var stream = ServerStream()
        /// On its way there, and what the relay did not take of its answers.
        var wire: [UInt8] = []
        var carry: [UInt8] = []
        var client: Int?
        var orphan: ClientStream?
        /// The client that the orphan was.
        var orphanedBy: Int?
        var isLeased = false
        var isResetting = false
        var hasSent = false
        var prelude: [UInt8] = []
        var holdsClientBytes = false
        var profile = "0"
        var pendingProfile: String?
        /// What its client set and took along.
        var followed = "none"
        /// Its client asked for it by LEASE.
        var isExplicit = false
        /// Its client speaks to it without the broker.
        var isDirect = false
        var returning: DirectReturn?
        /// The profile that is put in force behind the reset.
        var restored = "0"
        /// Half a message is left on it, in either direction: nobody can say what comes of that.
        var isTorn = false
        /// It said what nobody asked for.
        var isLying = false
        /// Errors that its client has not read, and a cancel under way: with three it may be given up.
        var errorsLeft = 0
        var isFree: Bool { !isLeased && !isResetting }
    }

    final class Client {
        var stream = ClientStream()
        var program: RelayProgram
        var pending: [UInt8] = []
        var server: Int?
        var isWaiting = false
        var isGone = false
        /// A LEASE that has no answer yet.
        var call: (terms: LeaseTerms, form: LeaseForm)?
        /// The server of its explicit lease, and what followed the client when it began.
        var held: (server: Int, followed: String)?
        /// A lease command of its waits until the server owes nothing.
        var awaitsQuiet = false
        /// It has reset its session in its lease: its profile went with the rest.
        var hasReset = false
        /// What it has read of its direct server's answers.
        var directlyRead: [UInt8] = []
        var directly = 0
        var profile: String
        var followed = "none"
        // What it does.
        var group: RelayProgram.Group?
        var part = 0
        var unsent: [UInt8] = []
        var sent: [UInt8] = []
        var received: [UInt8] = []
        var sawFault = false
        var everSawFault = false
        /// Its last bytes end with Terminate, and the relay has read that.
        var isLeaving = false
        var hasSaidGoodbye = false
        var groups = 0

        init(program: RelayProgram, profile: String) {
            self.program = program
            self.profile = profile
        }
    }

    let mode: RelayMode
    let hasFaults: Bool
    var random: SeededGenerator
    var statements = StatementTable()
    var servers: [Server]
    var clients: [Client]
    var committed: Set<String> = []
    /// Of clients that vanished: what their bytes may have committed.
    var allowed: [Int: Set<String>] = [:]
    var toServer = RelayOutput()
    var toClient = RelayOutput()
    /// Set by whoever notices; thrown after the step.
    var violation: String?
    var trace: ((String) -> Void)?
    var faults = 0
    /// How often DDL has changed what texts mean.
    var schema = 0
    /// Numbers of the settings that clients have in force, as the shell's profiles have them.
    var settings: [String: UInt32] = [:]
    var ignoresSettings = false
    /// How many sets of settings clients come with.
    let profiles: Int

    init(seed: UInt64) {
        random = SeededGenerator(seed: seed)
        let pooling: [RelayMode.Pooling] = [.transaction, .transaction, .statement, .session]
        let isShared = Self.sharesStatements(seed)
        let bound = (isShared ? [3, 100] : [0, 1, 2, 100]).randomElement(using: &random)!
        mode = RelayMode(
            pooling: pooling[Int(seed % 4)], maxPreparedStatements: bound, maxMessageSize: 1 << 20)
        hasFaults = (seed / 4).isMultiple(of: 2)
        let count = Int.random(in: isShared ? 3...5 : 1...5, using: &random)
        profiles = isShared ? 2 : 3
        let serverCount =
            mode.pooling == .session ? count : Int.random(in: 1...3, using: &random)
        servers = (0..<serverCount).map { _ in Server() }
        let (mode, profiles) = (mode, profiles)
        clients = (0..<count).map { index in
            Client(
                program: RelayProgram(client: index, mode: mode, seed: seed),
                profile: mode.pooling == .session ? "0" : "\(index % profiles)")
        }
    }

    /// Several clients with the same settings and the same few texts.
    static func sharesStatements(_ seed: UInt64) -> Bool { seed.isMultiple(of: 5) }

    mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &random) < percent
    }

    func note(_ text: @autoclosure () -> String) {
        if let trace { trace(text()) }
    }

    // MARK: Steps

    mutating func run(steps: Int) throws(Violation) {
        for _ in 0..<steps { try step(winding: false) }
        // Faults end, and everyone comes to an end with what was begun.
        var left = 20_000
        while isUnfinished, left > 0 {
            try step(winding: true)
            left -= 1
        }
        if left == 0 { throw Violation(description: "it does not come to an end: \(stuck)") }
        try finish()
    }

    private var isUnfinished: Bool {
        clients.contains { !$0.isGone && $0.group != nil }
            || servers.contains { $0.returning != nil }
    }

    private var stuck: String {
        clients.indices.filter { clients[$0].group != nil }.map { index in
            let client = clients[index]
            return "client \(index) at server \(client.server.map { "\($0)" } ?? "none"),"
                + " waiting \(client.isWaiting), unsent \(client.unsent.count),"
                + " pending \(RelayTranscript.ofClient(client.pending)),"
                + " sent \(RelayTranscript.ofClient(client.sent)),"
                + " received \(RelayTranscript.ofServer(client.received)),"
                + " expected \(client.group!.expected)"
        }.joined(separator: "; ")
    }

    private mutating func step(winding: Bool) throws(Violation) {
        let living = clients.indices.filter { !clients[$0].isGone }
        let busy = servers.indices.filter { isBusy(servers[$0]) }
        let client = living.randomElement(using: &random)!
        let server = busy.randomElement(using: &random)
        switch Int.random(in: 0...200, using: &random) {
        case 0..<50: act(client, winding: winding)
        case 50..<80: grant()
        case 80..<110: if let server { deliver(to: server) }
        case 110..<150: if let server { work(server) }
        case 150..<196: if let server { answer(from: server) }
        case 197 where hasFaults && !winding:
            kill(servers.indices.randomElement(using: &random)!)
        case 198 where hasFaults && !winding: abandon(client)
        case 199: giveUpTorn()
        case 196 where hasFaults && !winding: if let server { lie(from: server) }
        case 200 where !winding: alter()
        default: break
        }
        if let violation { throw Violation(description: violation) }
        try check()
    }

    /// DDL, by somebody else: it is there for all at once.
    private mutating func alter() {
        schema += 1
        note("schema \(schema)")
        for index in servers.indices { servers[index].backend.schema = schema }
        for index in clients.indices { clients[index].program.alter(schema) }
    }

    private func isBusy(_ server: Server) -> Bool {
        !server.wire.isEmpty || !server.backend.input.isEmpty || !server.backend.output.isEmpty
            || (server.backend.isDead && !server.isFree)
    }

    /// Another one comes for each that has gone.
    mutating func addClient() {
        let index = clients.count
        clients.append(
            Client(
                program: RelayProgram(client: index, mode: mode, seed: random.next()),
                profile: mode.pooling == .session ? "0" : "\(index % profiles)"))
        clients[index].program.alter(schema)
    }

    private mutating func grant() {
        let waiting = clients.indices.filter { clients[$0].isWaiting }
        let free = servers.indices.filter { servers[$0].isFree }
        guard let client = waiting.randomElement(using: &random),
            let server = free.randomElement(using: &random)
        else { return }
        grant(client, server)
    }

    private mutating func deliver(to index: Int) {
        guard !servers[index].wire.isEmpty else { return }
        let count = Int.random(in: 1...max(1, min(200, servers[index].wire.count)), using: &random)
        let taken = min(count, servers[index].wire.count)
        servers[index].backend.input += servers[index].wire.prefix(taken)
        servers[index].wire.removeFirst(taken)
    }

    /// The backend deals with a message, in the name of who holds it.
    private mutating func work(_ index: Int) {
        let wasDead = servers[index].backend.isDead
        for _ in 0..<Int.random(in: 1...6, using: &random) {
            guard servers[index].backend.step() else { break }
        }
        let isRegained = servers[index].returning != nil && !servers[index].isTorn
        if isRegained, !wasDead, servers[index].backend.isDead {
            violation = "server \(index) dies of what it is sent to end a direct lease"
        }
        let maySpeak = servers[index].isLeased && servers[index].returning == nil
        if chance(6), maySpeak, !servers[index].backend.isDead {
            servers[index].backend.output.appendNoticeResponse(.notice("noise"))
        }
        if chance(3), maySpeak, !servers[index].backend.isDead {
            servers[index].backend.output.appendParameterStatus(name: "noise", value: "1")
        }
        let holder = servers[index].client ?? servers[index].orphanedBy
        for token in servers[index].backend.executed
        where !servers[index].isTorn && (token.hasPrefix("c") || token.hasPrefix("d")) {
            if let holder, !token.dropFirst().hasPrefix("\(holder).") {
                violation = "\(token) runs on server \(index), which client \(holder) holds"
            } else if holder == nil {
                violation = "\(token) runs on server \(index), which nobody holds"
            }
        }
        servers[index].backend.executed = []
        committed.formUnion(servers[index].backend.committed)
        servers[index].backend.committed = []
    }

    private mutating func answer(from index: Int) {
        let output = servers[index].backend.output
        if output.isEmpty {
            if servers[index].backend.isDead { serverEnded(index) }
            return
        }
        if servers[index].isDirect {
            readDirectly(index)
            return
        }
        let most = chance(50) ? output.count : min(output.count, 40)
        let count = Int.random(in: 1...most, using: &random)
        servers[index].backend.output.removeFirst(count)
        receive(Array(output.prefix(count)), fromServer: index)
    }

    /// The backend dies, with some of its answers.
    private mutating func kill(_ index: Int) {
        guard !servers[index].backend.isDead else { return }
        faults += 1
        note("server \(index) dies")
        let output = servers[index].backend.output
        servers[index].backend.output = Array(
            output.prefix(Int.random(in: 0...output.count, using: &random)))
        if chance(50), servers[index].backend.output.count == output.count {
            servers[index].backend.output.appendErrorResponse(.fatal(.adminShutdown, "shutdown"))
        }
        servers[index].backend.isDead = true
    }
}

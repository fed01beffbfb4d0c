import LeaseCore
import PostgresWire

/// Clients that speak to their server without the broker, and leave it as they please.
extension RelayWorld {
    // MARK: The client

    /// The client says something to the server that it has directly, or reads; false if it has none,
    /// or does something else.
    mutating func actDirectly(_ index: Int) -> Bool {
        guard let server = clients[index].server, servers[server].isDirect, chance(85) else {
            return false
        }
        if servers[server].isTorn { return false }
        let bytes = saying(index, server)
        note("client \(index) directly: \(RelayTranscript.ofClient(bytes))")
        let isTorn = chance(2)
        let count = isTorn ? Int.random(in: 1..<bytes.count, using: &random) : bytes.count
        servers[server].isTorn = isTorn
        _ = write(Array(bytes.prefix(count)), to: server)
        return true
    }

    private mutating func saying(_ index: Int, _ server: Int) -> [UInt8] {
        clients[index].directly += 1
        let token = "d\(index).\(clients[index].directly)"
        var bytes: [UInt8] = []
        switch Int.random(in: 0..<14, using: &random) {
        case 0: bytes.appendQuery("select \(token)")
        case 1: bytes.appendQuery("begin")
        case 2: bytes.appendQuery("insert \(token)")
        case 3: bytes.appendQuery("set mark \(token)")
        case 4: bytes.appendQuery("show mark")
        case 5: bytes.appendQuery(chance(50) ? "commit" : "rollback")
        case 6: bytes.appendQuery("rows \(Int.random(in: 0...40, using: &random)) \(token)")
        case 7: bytes.appendQuery("copy in \(token)")
        case 8:
            bytes.appendCopyData([1])
            if chance(50) { bytes.appendCopyDone() }
        case 9:
            bytes.appendParse(name: "n\(token)", query: "show profile")
            bytes.appendBind(statement: "n\(token)")
            bytes.appendExecute()
        case 10:
            bytes.appendParse(name: "", query: "rows 5 \(token)")
            bytes.appendBind()
            bytes.appendExecute(maximumRows: 2)
            if chance(50) { bytes.appendFlush() }
        case 11: bytes.appendQuery("set followed = \(token)")
        case 12: bytes.appendQuery("fail \(token)")
        default: bytes.appendSync()
        }
        return bytes
    }

    /// Some of what the server said is read: whole messages, but for a client that gives up in the
    /// middle of one.
    mutating func readDirectly(_ server: Int) {
        guard let index = servers[server].client else { return }
        var count = 0
        let output = servers[server].backend.output
        // A server that died has left a part of one.
        repeat {
            guard output.count - count >= MessageHeader.size else {
                count = output.count
                break
            }
            let header = output.withUnsafeBytes { MessageHeader($0, at: count) }
            count = min(count + MessageHeader.size + header.bodyLength, output.count)
        } while count < output.count && chance(70)
        if chance(1) {
            count -= 1
            servers[server].isTorn = true
        }
        clients[index].directlyRead += output.prefix(count)
        servers[server].backend.output.removeFirst(count)
        for answer in RelayTranscript.ofServer(clients[index].directlyRead)
        where answer.hasPrefix("D(") {
            let value = answer.dropFirst(2).dropLast()
            let isOwn =
                value == "mark:none" || value.hasPrefix("mark:d\(index).")
                || value.hasPrefix("d\(index).") || value == "profile:\(clients[index].profile)"
            if !isOwn { violation = "client \(index) sees \(value) directly" }
        }
    }

    // MARK: The broker

    mutating func takeBack(_ server: Int) {
        servers[server].isDirect = false
        servers[server].isExplicit = true
        // A cancel that the client sent before it returned.
        if chance(10) { servers[server].backend.cancels = 1 }
        // A client may have killed it by what it said: that is no fault of the broker's.
        var left = servers[server].backend
        left.input += servers[server].wire
        while left.step() {}
        if left.isDead { servers[server].isTorn = true }
        servers[server].errorsLeft =
            RelayTranscript.ofServer(left.output).count { $0.hasPrefix("E") }
            + servers[server].backend.cancels
        // Half of them are cleaned in the same flight.
        let reset = chance(50) ? "discard all" : nil
        // Half of those have a profile put in force again.
        let setup = chance(50) && reset != nil
        servers[server].restored = setup ? "\(random.next() % 3)" : "0"
        var machine = DirectReturn(
            nonce: random.next(), reset: reset.map { [$0] } ?? [],
            setup: setup ? ["set profile \(servers[server].restored) none"] : [])
        var bytes: [UInt8] = []
        machine.begin(into: &bytes)
        servers[server].returning = machine
        if !write(bytes, to: server) { serverEnded(server) }
    }

    mutating func regain(_ server: Int, _ input: [UInt8]) {
        var answer: [UInt8] = []
        let (consumed, outcome) = input.withUnsafeBytes {
            servers[server].returning!.receive($0, toServer: &answer)
        }
        servers[server].carry = Array(input[consumed...])
        if !answer.isEmpty, !write(answer, to: server) {
            serverEnded(server)
            return
        }
        switch outcome {
        case .more:
            // A cancel that comes later still: it hits the reset, or the next marked query.
            if chance(20) {
                servers[server].backend.cancels = 1
                servers[server].errorsLeft += 1
            }
        case .settled(let status): settled(server, status)
        case .clean: cleaned(server)
        case .broken(let reason):
            note("server \(server) is given up: \(reason)")
            if !servers[server].isTorn, servers[server].errorsLeft < 1 {
                violation = "server \(server) is given up: \(reason)"
            }
            replace(server)
        }
    }

    private mutating func settled(_ server: Int, _ status: TransactionStatus) {
        note("server \(server) is regained, \(status)")
        guard regained(server, status) else { return }
        if status == .idle { finishLease(server) } else { ask(server, .rollback, "ROLLBACK") }
    }

    /// The next lease gets it as it is.
    private mutating func cleaned(_ server: Int) {
        note("server \(server) is regained and clean")
        let backend = servers[server].backend
        let profile = servers[server].returning!.isSetUp ? servers[server].restored : "0"
        let isClean =
            backend.mark == nil && backend.prepared.isEmpty && backend.profile == profile
            && backend.followed == "none" && !backend.isInTransaction && !backend.hasPortals
        if !isClean, !backend.isDead {
            violation = "server \(server) is said to be clean: \(backend)"
        }
        guard regained(server, .idle) else { return }
        if servers[server].stream.prepared.count != 0 {
            violation = "server \(server) has dropped statements that are still counted on"
        }
        servers[server].profile = profile
        servers[server].followed = "none"
        servers[server].isExplicit = false
        servers[server].isLeased = false
        servers[server].orphanedBy = nil
    }

    /// The connection is the broker's again; false if it cannot be.
    private mutating func regained(_ server: Int, _ status: TransactionStatus) -> Bool {
        let backend = servers[server].backend
        let isQuiet =
            servers[server].carry.isEmpty && backend.output.isEmpty && backend.input.isEmpty
            && servers[server].wire.isEmpty && backend.status == status && !backend.isCopying
            && !backend.isSkipping
        if !isQuiet, !backend.isDead {
            violation = "server \(server) is said to be quiet and \(status): \(backend)"
        }
        guard servers[server].carry.isEmpty, let machine = servers[server].returning else {
            replace(server)
            return false
        }
        servers[server].returning = nil
        servers[server].isTorn = false
        // A cancel does nothing to a server that runs nothing.
        servers[server].backend.cancels = 0
        servers[server].stream.regained(
            status, hasDroppedStatements: machine.hasDroppedStatements, statements: &statements)
        return true
    }

    /// Time runs out for those that say nothing more.
    mutating func giveUpTorn() {
        for (index, server) in servers.enumerated() where server.returning != nil {
            let isSilent =
                server.wire.isEmpty && server.backend.output.isEmpty && !server.backend.isDead
            guard isSilent else { continue }
            var backend = server.backend
            if backend.step() { continue }
            if !server.isTorn {
                violation = "server \(index) does not settle: \(server.backend)"
            }
            replace(index)
        }
    }
}

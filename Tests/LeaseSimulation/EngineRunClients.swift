// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// What clients do, and what they make of their answers.
extension EngineRun {
    func mayAct(_ client: EngineClient) -> Bool {
        guard !client.socket.isClosed, !client.socket.hasEndedWriting, client.isLoggedIn else {
            return false
        }
        if !client.unsent.isEmpty { return client.socket.outbox.count < 4_000 }
        guard let group = client.group else {
            return now >= client.thinksUntil && !client.isLeaving && (!isWinding || mustEnd(client))
        }
        return client.part + 1 < group.parts.count && mayGoOn(client, group)
    }

    /// At the end whoever holds something gives it back; a session pool's clients hold theirs to the last.
    private func mustEnd(_ client: EngineClient) -> Bool {
        !client.isLeaving && engine.clients.contains(client.id)
            && (client.program.isHeld
                || (engine.clients[client.id].server != nil
                    && (pools[client.pool].terms.mode.pooling != .session
                        || client.program.direct.status != .idle)))
    }

    mutating func act(_ client: EngineClient) {
        if client.group == nil {
            if parksOrTakesBack(client) { return }
            if !isWinding, actDirectly(client) { return }
            begin(client)
        }
        nextPart(client)
        send(client)
        // What it sends may have no answer.
        if client.group != nil { settle(client) }
    }

    private mutating func begin(_ client: EngineClient) {
        client.tokensBefore = client.program.tokens
        client.beginsGroup()
        // The lease in which it did so is over: in the next one it is told.
        if engine.clients.contains(client.id), engine.clients[client.id].server == nil {
            client.hasReset = false
        }
        let group: RelayProgram.Group
        if client.sawFault {
            startAnew(client)
            group = client.program.end()
        } else if isWinding {
            group = client.program.end()
        } else {
            group = client.program.next()
        }
        client.sawFault = false
        client.group = group
        client.part = 0
        client.sent = []
        client.unsent = group.parts[0].bytes
        let texts = group.parts.flatMap { RelayTranscript.ofClient($0.bytes) }
        client.resetsInGroup = texts.contains { text in
            ["reset all", "discard all"].contains { text.contains($0) }
        }
        if client.resetsInGroup {
            client.hasReset = true
            client.everReset = true
        }
        note("client \(client.index): \(group.parts.map { RelayTranscript.ofClient($0.bytes) })")
        if !isWinding { mayLeave(client) }
    }

    /// After a fault nothing is known of what was left, but for what the engine says.
    private func startAnew(_ client: EngineClient) {
        guard engine.clients.contains(client.id) else { return }
        let entries = engine.profiles.entries(of: engine.clients[client.id].settings.current)
        let isSession = pools[client.pool].terms.mode.pooling == .session
        let zone = entries.first { $0.name == "timezone" }?.value ?? "0"
        var isHeld = false
        var isDirect = false
        if let server = engine.clients[client.id].server {
            isHeld = engine.servers[server].explicit != nil
            isDirect = engine.servers[server].isDirect
        }
        // It was told that what it had directly is lost.
        if !isDirect { client.closeDescriptor() }
        client.program.startOver(
            zoneNow: isSession ? client.toldZone : zone, isHeld: isHeld, isDirect: isDirect)
    }

    private func mayGoOn(_ client: EngineClient, _ group: RelayProgram.Group) -> Bool {
        let answers = transcript(client)
        return answers.count >= group.parts[client.part + 1].answersBefore
            || answers.contains { Self.isIncident($0) }
    }

    private mutating func nextPart(_ client: EngineClient) {
        guard let group = client.group, client.unsent.isEmpty,
            client.part + 1 < group.parts.count, mayGoOn(client, group)
        else { return }
        client.part += 1
        client.unsent = group.parts[client.part].bytes
        if !isWinding { mayLeave(client) }
    }

    private mutating func send(_ client: EngineClient) {
        guard !client.unsent.isEmpty else { return }
        let isWhole = !plan.takesLess || chance(60)
        let count =
            isWhole ? client.unsent.count : Int.random(in: 1...client.unsent.count, using: &random)
        let bytes = client.unsent.prefix(count)
        client.unsent.removeFirst(count)
        client.sent += bytes
        client.socket.outbox += bytes
        if client.unsent.isEmpty, client.endsWriting { client.socket.hasEndedWriting = true }
        if client.socket.descriptor != nil,
            RelayTranscript.ofClient(client.sent).contains(where: { $0.contains("LEASE RETURN") })
        {
            // It says that it is done with it, and so it is.
            client.closeDescriptor()
        }
    }

    // MARK: Leaving

    /// Now and then a client's last bytes end with Terminate, or with the end of its writing side.
    private mutating func mayLeave(_ client: EngineClient) {
        guard let group = client.group, client.part == group.parts.count - 1, !client.isLeaving,
            client.socket.descriptor == nil, chance(2)
        else { return }
        client.isLeaving = true
        client.endsWriting = chance(40) && !pools[client.pool].terms.isReplication
        note("client \(client.index) will leave")
        if !client.endsWriting { client.unsent.appendTerminate() }
    }

    /// It has nothing to do any more: goodbye, a closed writing side, or a closed socket.
    mutating func leave(_ client: EngineClient) {
        guard !client.isLeaving else { return }
        client.isLeaving = true
        switch Int.random(in: 0..<3, using: &random) {
        case 0: client.socket.outbox.appendTerminate()
        // A replication client that sends nothing more is gone.
        case 1 where !pools[client.pool].terms.isReplication:
            client.socket.hasEndedWriting = true
        default: client.socket.isClosed = true
        }
        note("client \(client.index) leaves")
        if client.socket.isClosed { vanished(client) }
    }

    /// Its socket is closed, whatever was under way.
    mutating func vanish(_ client: EngineClient) {
        guard !client.isGone, !client.socket.isClosed else { return }
        note("client \(client.index) vanishes")
        client.socket.isClosed = true
        client.socket.isReset = chance(30)
        vanished(client)
    }

    private mutating func vanished(_ client: EngineClient) {
        client.isGone = true
        client.socket.inbox = []
        client.socket.descriptor = nil
        allowCommits(of: client)
        if !isWinding { plan(.clientComes, within: 3_000) }
    }

    // MARK: Reading

    mutating func read(_ client: EngineClient) {
        let socket = client.socket
        if socket.inbox.isEmpty {
            if socket.isClosedByBroker { sessionEnded(client) }
            return
        }
        let count =
            chance(60) ? socket.inbox.count : Int.random(in: 1...socket.inbox.count, using: &random)
        client.received += socket.inbox.prefix(count)
        socket.inbox.removeFirst(count)
        for status in RelayTranscript.ofServer(client.received)
        where status.hasPrefix("S(TimeZone=") {
            client.toldZone = String(status.dropFirst("S(TimeZone=".count).dropLast())
        }
        if client.isLoggedIn { settle(client) } else { login(client) }
    }

    private mutating func login(_ client: EngineClient) {
        let got = RelayTranscript.ofServer(client.received)
        let ready = [UInt8(ascii: "Z"), 0, 0, 0, 5, UInt8(ascii: "I")]
        let starts = 0..<max(0, client.received.count - 5)
        let end = starts.first { client.received[$0..<$0 + 6].elementsEqual(ready) }
        if got.first == "R", let end {
            client.isLoggedIn = true
            client.received.removeFirst(end + 6)
            note("client \(client.index) is logged in")
            if client.toldZone != client.zone {
                violation =
                    "client \(client.index) was told of zone \(client.toldZone), its own is \(client.zone)"
            }
            settle(client)
        } else if let error = got.first(where: { $0.hasPrefix("E(") }) {
            checkLicence(client, error)
        }
    }

    /// The broker has closed it.
    private mutating func sessionEnded(_ client: EngineClient) {
        note("client \(client.index) sees the end of its session")
        if client.isLoggedIn { settle(client) }
        client.isGone = true
        client.socket.isClosed = true
        client.socket.descriptor = nil
        if client.group != nil, !client.everSawFault, !client.mayEnd, client.unsent.isEmpty,
            plan.settings.clientGone == .finish,
            client.isLeaving, client.isLoggedIn
        {
            violation =
                "client \(client.index) said goodbye, and was told \(transcript(client)) only; it sent"
                + " \(RelayTranscript.ofClient(client.sent)), expected \(client.group!.expected)"
        }
        if client.wasSentAway { checkDeparture(of: client) }
        if client.group != nil { allowCommits(of: client) }
        client.group = nil
        if !isWinding { plan(.clientComes, within: 3_000) }
    }

    /// What the client has received, without what may come at any time.
    func transcript(_ client: EngineClient) -> [String] {
        RelayTranscript.ofServer(client.received).filter {
            !$0.contains("noise") && !$0.hasPrefix("S(") && !$0.hasPrefix("N(25P01")
        }
    }

    /// Something has come: is it right, and is it all?
    mutating func settle(_ client: EngineClient) {
        let got = transcript(client)
        guard let group = client.group else {
            if let error = got.first(where: { $0.hasPrefix("E(") }),
                client.licences.contains("57P01") || client.mayEnd
            {
                checkLicence(client, error)
            } else if got.contains(where: { !$0.hasPrefix("…") }) {
                violation = "client \(client.index) was told \(got) without having asked"
            }
            return
        }
        if got.contains(where: Self.isIncident) {
            settleAfterIncident(client, got, group)
            return
        }
        let isExact = !client.hasReset
        let isKept = isKept(client)
        let expected = Self.comparable(group.expected, isExact: isExact, isKept: isKept)
        var seen = Self.comparable(
            got.last?.hasPrefix("…") == true ? Array(got.dropLast()) : got, isExact: isExact,
            isKept: isKept)
        let parsed = seen.reversed().prefix { $0 == "ParseComplete" }.count
        let rest = seen.count - parsed
        if rest < expected.count, expected[rest].hasPrefix("E(25P02") { seen.removeLast(parsed) }
        checkValues(client, got)
        let isAll = seen.count >= expected.count && client.unsent.isEmpty
        if client.licences.contains("08006"), Self.isRolledBack(seen, expected) {
            settleAfterIncident(client, got, group)
            return
        }
        if !expected.starts(with: seen) || (isAll && seen != expected) {
            violation =
                "client \(client.index) was told \(seen), a direct connection says \(expected);"
                + " it sent \(RelayTranscript.ofClient(client.sent))"
        }
        guard isAll, client.part == group.parts.count - 1, got.last?.hasPrefix("…") != true
        else { return }
        note("client \(client.index) has its answers")
        if client.program.isDirect, client.socket.descriptor == nil { client.program.isNotDirect() }
        checkTold(client)
        // What was still to be told of an incident is told.
        client.endsGroupWithoutIncident()
        done(client)
    }

    private mutating func done(_ client: EngineClient) {
        client.group = nil
        client.received = []
        client.thinksUntil = now + time(upTo: chance(20) ? 30_000 : 500)
    }

    /// What only an incident brings about, and no statement of a program.
    static func isIncident(_ text: String) -> Bool {
        guard text.hasPrefix("E("), text.count > 7 else { return false }
        let state = text.dropFirst(2).prefix(5)
        if state == "57014" { return !text.hasPrefix("E(57014,copy failed") }
        return ["08", "53", "57"].contains(state.prefix(2)) || state == "40P01"
    }

    /// A server that was lost after the error of a failed transaction shows by the status only.
    private static func isRolledBack(_ seen: [String], _ expected: [String]) -> Bool {
        guard let index = zip(seen, expected).map({ $0 == $1 }).firstIndex(of: false) else {
            return false
        }
        let (got, wanted) = (seen[index], expected[index])
        // Behind a refusal of the broker's, which ends no transaction.
        let behind = index > 0 ? seen[index - 1] : ""
        let isRefusal = ["E(42601", "E(55000", "E(25001"].contains { behind.hasPrefix($0) }
        return got == "Z(I)" && (wanted == "Z(E)" || (wanted == "Z(T)" && isRefusal))
    }

    /// Its walsender has said that it ends, and its end is still to be seen.
    private func awaitsEnd(_ client: EngineClient) -> Bool {
        guard engine.clients.contains(client.id), let server = engine.clients[client.id].server
        else { return false }
        return servedOnce.contains(server) && world.servers[server]?.isEnded == true
    }

    /// After an incident the answers must be as many as were asked for, and nobody else's.
    private mutating func settleAfterIncident(
        _ client: EngineClient, _ got: [String], _ group: RelayProgram.Group
    ) {
        checkValues(client, got)
        client.sawFault = true
        client.everSawFault = true
        for text in got where Self.isIncident(text) { checkLicence(client, text) }
        guard client.unsent.isEmpty, client.part == group.parts.count - 1, nothingIsDue(to: client),
            !awaitsEnd(client)
        else { return }
        let most = RelayTranscript.ofClient(client.sent)
            .count { $0 == "Sync" || $0.hasPrefix("Query") }
        let ready = got.count { $0.hasPrefix("Z") }
        if ready < min(group.readyCount, most) || ready > most {
            violation =
                "client \(client.index) was told it is ready \(ready) times, not \(group.readyCount)"
                + " to \(most): \(got); it sent \(RelayTranscript.ofClient(client.sent))"
        }
        var isFailed = false
        for answer in got {
            if answer.hasPrefix("Z") { isFailed = false }
            if answer.hasPrefix("E") {
                if isFailed {
                    violation = "client \(client.index) was told two errors at once: \(got)"
                }
                isFailed = true
            }
        }
        note("client \(client.index) has had its incident: \(got)")
        done(client)
    }

    /// All is sent, and nobody has anything for it any more.
    private func nothingIsDue(to client: EngineClient) -> Bool {
        guard client.socket.outbox.isEmpty, client.socket.inbox.isEmpty else { return false }
        // Its end is still to be seen.
        guard engine.clients.contains(client.id) else { return false }
        guard engine.clients[client.id].outbound.isEmpty, engine.clients[client.id].pending.isEmpty,
            !engine.clients[client.id].isWaiting, engine.clients[client.id].call == nil
        else { return false }
        guard let server = engine.clients[client.id].server else { return true }
        // Of a replication connection nobody counts what is owed.
        if pools[client.pool].terms.isReplication, let socket = world.servers[server],
            !socket.isEnded
        {
            return socket.wire.isEmpty && socket.backend.input.isEmpty
                && socket.backend.output.isEmpty
        }
        return engine.servers[server].isDirect || engine.servers[server].stream.isQuiet
    }

    /// A group that had its incident may be done by something else than by what comes last.
    mutating func settleSilently(_ client: EngineClient) {
        guard client.sawFault, let group = client.group, !client.isGone else { return }
        settleAfterIncident(client, transcript(client), group)
    }

    /// Its session is as on a connection of its own: what it has set is in force, and nothing else. An incident may
    /// have rolled back something that the other connection goes on with.
    private func isKept(_ client: EngineClient) -> Bool {
        plan.settings.sessionState == .keep && !client.everSawFault
            && pools[client.pool].terms.connectQuery == nil
    }

    /// What a pooler may show otherwise: what the session was left with; that a statement which it knows is
    /// parsed in a failed transaction, where what follows is refused; which of two errors a name that is taken
    /// has in a failed transaction; and the words of lease commands.
    private static func comparable(
        _ transcript: [String], isExact: Bool, isKept: Bool
    ) -> [String] {
        var result: [String] = []
        for text in transcript {
            if text.hasPrefix("E(25P02") || text.hasPrefix("E(42P05") {
                while result.last == "ParseComplete" { result.removeLast() }
            }
            switch text {
            case let mark where mark.hasPrefix("D(mark:") && !isKept: result.append("D(mark)")
            case let followed where followed.hasPrefix("D(followed:") && !isKept:
                result.append("D(followed)")
            case let mark where mark.hasPrefix("D(exact:") && !isKept: result.append("D(exact)")
            case "D(exact:connect)": result.append("D(exact:none)")
            case let profile where profile.hasPrefix("D(profile:") && !isExact:
                result.append("D(profile)")
            case let meaning where meaning.hasPrefix("D(meaning:"): result.append("D(meaning)")
            case let taken where taken.hasPrefix("E(42P05"):
                result.append("E(25P02,current transaction is aborted)")
            case let refusal
            where refusal.hasPrefix("E(55000") || refusal.hasPrefix("E(25001")
                || refusal.hasPrefix("N(25001"):
                result.append("\(refusal.prefix(7)))")
            case let syntax where syntax.hasPrefix("E(42601,syntax"): result.append("E(42601)")
            case let lease where lease.contains("\u{05}relay") || lease.contains("\u{06}direct"):
                result.append("D(lease)")
            default: result.append(text)
            }
        }
        return result
    }
}

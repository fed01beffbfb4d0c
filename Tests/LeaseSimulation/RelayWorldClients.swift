import LeaseCore
import PostgresWire

/// What clients do, and what they make of their answers.
extension RelayWorld {
    mutating func act(_ index: Int, winding: Bool) {
        guard !clients[index].isGone, !clients[index].hasSaidGoodbye else { return }
        if clients[index].group == nil {
            if !winding, actDirectly(index) { return }
            // Who was told in an answer that it has lost its lease need not be in one.
            let isDone = clients[index].server == nil || mode.pooling == .session
            if winding, isDone { return }
            let group: RelayProgram.Group =
                if clients[index].sawFault {
                    clients[index].program.startOver(
                        isHeld: clients[index].held != nil, isDirect: isDirect(index))
                } else if winding {
                    clients[index].program.end()
                } else {
                    clients[index].program.next()
                }
            clients[index].sawFault = false
            clients[index].group = group
            clients[index].groups += 1
            clients[index].part = 0
            clients[index].sent = []
            clients[index].unsent = group.parts[0].bytes
            if !winding { mayLeave(index) }
            note("client \(index): \(group.parts.map { RelayTranscript.ofClient($0.bytes) })")
        }
        nextPart(index)
        let unsent = clients[index].unsent
        guard !unsent.isEmpty else { return }
        let count = chance(60) ? unsent.count : Int.random(in: 1...unsent.count, using: &random)
        clients[index].unsent.removeFirst(count)
        clients[index].sent += unsent.prefix(count)
        receive(Array(unsent.prefix(count)), from: index)
        settle(index)
        endIfDone(index)
    }

    private mutating func nextPart(_ index: Int) {
        guard let group = clients[index].group, clients[index].unsent.isEmpty,
            clients[index].part + 1 < group.parts.count
        else { return }
        let answers = transcript(index)
        guard
            answers.count >= group.parts[clients[index].part + 1].answersBefore
                || answers.contains(where: { $0.hasPrefix("E(08") })
        else { return }
        clients[index].part += 1
        clients[index].unsent = group.parts[clients[index].part].bytes
        mayLeave(index)
    }

    /// What the client has received, without what may come at any time.
    func transcript(_ index: Int) -> [String] {
        let all = RelayTranscript.ofServer(clients[index].received)
        return all.filter { !$0.contains("noise") && !$0.hasPrefix("S(profile") }
    }

    /// Something has come: is it right, and is it all?
    mutating func settle(_ index: Int) {
        guard !clients[index].isGone else { return }
        let got = transcript(index)
        guard let group = clients[index].group else {
            if got.contains(where: { !$0.hasPrefix("…") }) {
                violation = "client \(index) was told \(got) without having asked"
            }
            return
        }
        if got.contains(where: { $0.hasPrefix("E(08") }) {
            settleAfterFault(index, got, group)
            return
        }
        let expected = Self.comparable(group.expected)
        var seen = Self.comparable(got.last?.hasPrefix("…") == true ? Array(got.dropLast()) : got)
        let parsed = seen.reversed().prefix { $0 == "ParseComplete" }.count
        let rest = seen.count - parsed
        if rest < expected.count, expected[rest].hasPrefix("E(25P02") { seen.removeLast(parsed) }
        checkValues(index, got)
        let isAll = seen.count >= expected.count && clients[index].unsent.isEmpty
        if hasFaults, Self.isRolledBack(seen, expected) {
            settleAfterFault(index, got, group)
            return
        }
        if !expected.starts(with: seen) || (isAll && seen != expected) {
            violation =
                "client \(index) was told \(seen), a direct connection says \(expected);"
                + " it sent \(RelayTranscript.ofClient(clients[index].sent))"
        }
        guard isAll, clients[index].part == group.parts.count - 1, got.last?.hasPrefix("…") != true
        else { return }
        note("client \(index) has its answers")
        clients[index].group = nil
        clients[index].received = []
    }

    /// A server that was lost after the error of a failed transaction shows by the status only.
    private static func isRolledBack(_ seen: [String], _ expected: [String]) -> Bool {
        guard let index = zip(seen, expected).map({ $0 == $1 }).firstIndex(of: false) else {
            return false
        }
        let (got, wanted) = (seen[index], expected[index])
        // Behind a refusal of the broker's, which ends no transaction.
        let behind = index > 0 ? seen[index - 1] : ""
        let isRefusal = ["E(42601,", "E(55000,", "E(25001,"].contains { behind.hasPrefix($0) }
        return got == "Z(I)" && (wanted == "Z(E)" || (wanted == "Z(T)" && isRefusal))
    }

    /// After a fault the answers must be as many as were asked for, and nobody else's.
    private mutating func settleAfterFault(
        _ index: Int, _ got: [String], _ group: RelayProgram.Group
    ) {
        checkValues(index, got)
        clients[index].sawFault = true
        clients[index].everSawFault = true
        // Done when everything is sent and nobody has anything for it any more.
        guard clients[index].unsent.isEmpty, clients[index].part == group.parts.count - 1,
            clients[index].server.map({ servers[$0].stream.isQuiet }) ?? true,
            !clients[index].isWaiting, clients[index].call == nil,
            clients[index].pending.isEmpty
        else { return }
        let most = RelayTranscript.ofClient(clients[index].sent)
            .count { $0 == "Sync" || $0.hasPrefix("Query") }
        let ready = got.count { $0.hasPrefix("Z") }
        if ready < min(group.readyCount, most) || ready > most {
            violation =
                "client \(index) was told it is ready \(ready) times, not \(group.readyCount)"
                + " to \(most): \(got); it sent \(RelayTranscript.ofClient(clients[index].sent))"
        }
        var isFailed = false
        for answer in got {
            if answer.hasPrefix("Z") { isFailed = false }
            if answer.hasPrefix("E") {
                if isFailed { violation = "client \(index) was told two errors at once: \(got)" }
                isFailed = true
            }
        }
        note("client \(index) has had its fault")
        clients[index].group = nil
        clients[index].received = []
    }

    /// A value of the session is the client's own, or nobody's.
    mutating func checkValues(_ index: Int, _ got: [String]) {
        for answer in got where answer.hasPrefix("D(") {
            let value = answer.dropFirst(2).dropLast()
            if value.hasPrefix("mark:"), value != "mark:none",
                !value.hasPrefix("mark:c\(index).")
            {
                violation = "client \(index) sees \(value)"
            }
            if value.hasPrefix("followed:"), value != "followed:none",
                !value.hasPrefix("followed:c\(index).")
            {
                violation = "client \(index) sees \(value)"
            }
            let setting = String(value.dropFirst("followed:".count))
            if value.hasPrefix("followed:"), mode.pooling != .session,
                clients[index].group?.isOutsideLeases == true,
                clients[index].program.heldSettings.contains(setting)
            {
                violation = "client \(index) sees \(value), of a lease that is over"
            }
            if value.hasPrefix("meaning:") { checkMeaning(index, value) }
            let isReset = clients[index].hasReset && value == "profile:0"
            if value.hasPrefix("profile:"), value != "profile:\(clients[index].profile)", !isReset {
                violation = "client \(index) sees \(value), its own is \(clients[index].profile)"
            }
            if value.hasPrefix("d") || value.hasPrefix("pglease") {
                violation = "client \(index) was given \(value)"
            }
            if value.first == "c", !value.hasPrefix("c\(index).") {
                violation = "client \(index) was given \(value)"
            }
        }
    }

    /// What a text meant when it was parsed is what this client's settings made of it, no earlier than its
    /// own Parse.
    private mutating func checkMeaning(_ index: Int, _ value: Substring) {
        let parts = value.dropFirst("meaning:".count).split(separator: "/")
        let isReset = clients[index].hasReset && parts[0] == "0"
        let isOwn = parts[1...2].allSatisfy { $0 == "none" || $0.hasPrefix("c\(index).") }
        let parsed = clients[index].program.parsedAt["means \(parts[4])"] ?? 0
        if (parts[0] != clients[index].profile && !isReset) || !isOwn || Int(parts[3])! < parsed {
            violation =
                "client \(index) sees \(value), its profile is \(clients[index].profile), and it parsed"
                + " at schema \(parsed)"
        }
    }

    /// What a pooler may show otherwise: what the session was left with; that a statement which it
    /// knows is parsed in a failed transaction, where what follows is refused; and which of two
    /// errors a name that is taken has in a failed transaction.
    private static func comparable(_ transcript: [String]) -> [String] {
        var result: [String] = []
        for text in transcript {
            if text.hasPrefix("E(25P02") || text.hasPrefix("E(42P05") {
                while result.last == "ParseComplete" { result.removeLast() }
            }
            switch text {
            case let mark where mark.hasPrefix("D(mark:"): result.append("D(mark)")
            case let followed where followed.hasPrefix("D(followed:"):
                result.append("D(followed)")
            case let profile where profile.hasPrefix("D(profile:"): result.append("D(profile)")
            case let meaning where meaning.hasPrefix("D(meaning:"): result.append("D(meaning)")
            case let taken where taken.hasPrefix("E(42P05"):
                result.append("E(25P02,current transaction is aborted)")
            default: result.append(text)
            }
        }
        return result
    }

    /// The client is gone, in the middle of whatever it does.
    mutating func abandon(_ index: Int) {
        guard !clients[index].isGone else { return }
        faults += 1
        note("client \(index) vanishes")
        clients[index].isGone = true
        addClient()
        clients[index].isWaiting = false
        clients[index].call = nil
        clients[index].pending = []
        if let group = clients[index].group { allow(index, group) }
        abandonLease(of: index)
        clients[index].stream.releaseAll(in: &statements)
    }

    /// Only what the bytes that were sent would have committed on a direct connection may be.
    private mutating func allow(_ index: Int, _ group: RelayProgram.Group) {
        guard !clients[index].everSawFault else { return }
        var direct = group.before
        direct.input += clients[index].sent
        while direct.step() {}
        allowed[index] = group.committedBefore.union(direct.committed)
    }
}

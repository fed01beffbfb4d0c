// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// What one client does, made up as it goes, with what a direct connection would have answered.
///
/// Every statement carries a token of its own: `c<client>.<number>`.
struct RelayProgram {
    /// Bytes that are sent at once, when so many messages of the group have been answered.
    struct Part {
        var bytes: [UInt8]
        var answersBefore = 0
    }

    /// Batches that are sent without waiting between them.
    struct Group {
        var parts: [Part] = []
        /// What a direct connection answers to all of it.
        var expected: [String] = []
        /// The connection before it, to ask what a part of the group would have done.
        var before: RelayBackend
        var committedBefore: Set<String>
        /// No lease of the client's own has to do with it.
        var isOutsideLeases = false
        var readyCount: Int { expected.count { $0.hasPrefix("Z") } }
    }

    let client: Int
    let mode: RelayMode
    /// The broker as it should be, in front of a server of this client's own.
    private(set) var direct: RelayBackend
    /// What would have been committed.
    private(set) var committed: Set<String> = []
    private(set) var tokens = 0
    var names: [String] = []
    private var nameCount = 0
    /// The schema when the client parsed a text of which it had no statement: none of them can mean less.
    private(set) var parsedAt: [String: Int] = [:]
    /// The text that the client parsed last without a name, if it can be sure of it.
    var unnamed: String?
    var unnamedSent: String?
    private var isPipelined = false
    /// Prepared lease commands.
    var leaseNames: [String] = []
    /// It has a lease of its own throughout what is being made up.
    var isSurelyHeld = false
    /// How many of its named statements say what they meant when they were parsed. Then it keeps to a few
    /// texts and settings, as other clients do, so that statements are shared.
    private let meaningPercent: Int
    /// Its leases may end by their own terms.
    let hasShortLeases: Bool
    /// It asks for direct leases that it may park.
    let parks: Bool
    /// How much of what it does is about leases.
    private let leasePercent: Int
    /// What it set while it had one: gone with it.
    var heldSettings: Set<String> = []
    var random: SeededGenerator

    /// `zone` is the TimeZone of its startup packet.
    init(
        client: Int, mode: RelayMode, zone: String, seed: UInt64, hasShortLeases: Bool = false,
        usesLeases: Bool = true, parks: Bool = false
    ) {
        self.hasShortLeases = hasShortLeases
        self.parks = parks
        self.client = client
        self.mode = mode
        direct = RelayBackend(zone: zone)
        direct.leases = RelayBackendLeases(mode.pooling)
        meaningPercent = Self.sharesStatements(seed) ? 80 : 0
        leasePercent = !usesLeases ? 0 : (seed / 8).isMultiple(of: 3) ? 2 : 20
        random = SeededGenerator(seed: seed &* 0x9E37_79B9 &+ UInt64(client))
    }

    /// Several clients with the same settings and the same few texts.
    static func sharesStatements(_ seed: UInt64) -> Bool { seed.isMultiple(of: 5) }

    mutating func chance(_ percent: Int) -> Bool {
        Int.random(in: 0..<100, using: &random) < percent
    }

    mutating func token() -> String {
        tokens += 1
        return "c\(client).\(tokens)"
    }

    /// After a fault nothing is known of what was left, but for the zone: the session begins anew.
    mutating func startOver(zoneNow: String, isHeld: Bool, isDirect: Bool) {
        let schema = direct.schema
        direct = RelayBackend(zone: direct.zone!)
        direct.schema = schema
        direct.profile = zoneNow
        direct.leases = RelayBackendLeases(mode.pooling)
        if isHeld { direct.leases!.begin((zoneNow, "none", nil)) }
        direct.leases!.isDirect = isDirect
        names = []
        leaseNames = []
    }

    /// Whatever was begun comes to its end.
    mutating func end() -> Group {
        var group = Group(before: direct, committedBefore: committed)
        unnamed = nil
        group.parts = [
            Part(
                bytes: bytes {
                    if !isDirect { $0.appendQuery("rollback") }
                    if isHeld { $0.appendQuery("LEASE RETURN") }
                })
        ]
        return finished(group)
    }

    mutating func next() -> Group {
        var group = Group(before: direct, committedBefore: committed)
        isSurelyHeld = isHeld && !isDirect
        if isDirect || chance(leasePercent) {
            leaseGroup(&group)
            return finished(group)
        }
        let bound = names
        var usable = bound
        names = []
        if !usable.isEmpty, followsNames, direct.status == .idle, chance(8) {
            if drop(&usable, &group) { return finished(group) }
        }
        let isDropAhead = !group.parts.isEmpty && chance(50)
        if chance(10) {
            copyGroup(&group)
        } else if chance(10) {
            flushGroup(&group)
        } else {
            var all: [UInt8] = []
            let more = chance(70) ? 0 : Int.random(in: 1...4, using: &random)
            isPipelined = more > 0
            for _ in 0...more {
                if followsNames, chance(8), let name = executable(usable) {
                    unnamed = nil
                    all += bytes { $0.appendQuery("execute \(name)") }
                } else if chance(leasePercent / 2) {
                    all += leaseCommand(among: &usable)
                } else {
                    all += chance(40) ? simple() : batch(&usable, endsWithSync: true)
                }
            }
            group.parts.append(Part(bytes: all))
        }
        // Those that were not touched, and those that are new, if they are there.
        names = Array(Set(names + usable)).sorted()
        if isDropAhead {
            let drop = group.parts.removeFirst()
            group.parts[0].bytes = drop.bytes + group.parts[0].bytes
        }
        return finished(group)
    }

    /// What a direct connection says to it.
    mutating func finished(_ group: Group) -> Group {
        var group = group
        for index in group.parts.indices {
            if index > 0 { group.parts[index].answersBefore = group.expected.count }
            direct.input += group.parts[index].bytes
            while direct.step() {}
            group.expected = RelayTranscript.ofServer(direct.output).filter { !$0.hasPrefix("S(") }
        }
        let isAboutLeases = group.parts.contains {
            RelayTranscript.ofClient($0.bytes).contains { $0.contains("LEASE") }
        }
        group.isOutsideLeases = !group.before.leases!.isHeld && !isHeld && !isAboutLeases
        direct.output = []
        direct.executed = []
        committed.formUnion(direct.committed)
        direct.committed = []
        names = names.filter { direct.prepared[$0] != nil }
        leaseNames = direct.leases!.statements.keys.filter { !$0.isEmpty }.sorted()
        // One that was skipped leaves the one before it: nobody would count on that.
        let isUnsure = unnamedSent != nil && group.expected.contains { $0.hasPrefix("E") }
        let last = isUnsure ? nil : unnamedSent ?? unnamed
        unnamed = direct.prepared[""] == last ? last : nil
        unnamedSent = nil
        if !followsNames { names = [] }
        return group
    }

    /// The client has a lease of its own, and has it directly.
    var isHeld: Bool { direct.leases!.isHeld }
    var isDirect: Bool { direct.leases!.isDirect }

    private var followsNames: Bool { mode.tracksStatements || mode.pooling == .session }

    /// The lease that it asked for as a direct one goes through the relay.
    mutating func isNotDirect() { direct.leases!.isDirect = false }

    /// What it had parked was taken.
    mutating func parkedIsGone() { direct.endLease() }

    // MARK: Statements

    private mutating func text() -> String {
        switch Int.random(in: 0..<100, using: &random) {
        case 0..<20: "select \(token())"
        case 20..<26 where meaningPercent == 0: "set followed = '\(token())'"
        case 26..<29: "show followed"
        case 29: "reset all"
        case 30 where meaningPercent == 0: "set timezone = '\(token())'"
        case 30..<40: "rows \(Int.random(in: 0...9, using: &random)) \(token())"
        case 40..<55: "insert \(token())"
        case 55: "fail long \(token())"
        case 56..<60: "fail \(token())"
        case 60..<63: "bad \(token())"
        case 63..<68: "set mark \(token())"
        case 68..<72: "set local mark \(token())"
        case 72..<75: "select set_config mark \(token())"
        case 75..<81: "show mark"
        case 81..<84: "show profile"
        case 84..<87: "copy out \(Int.random(in: 0...4, using: &random)) \(token())"
        case 87..<89: "notice \(token())"
        case 89..<91: ""
        case 91..<96 where mode.pooling != .statement: "begin"
        case 96..<98 where mode.pooling != .statement: "commit"
        case 98..<100 where mode.pooling != .statement: "rollback"
        default: "select \(token())"
        }
    }

    mutating func simple() -> [UInt8] {
        unnamed = nil
        var text = text()
        if chance(15) { text += ";" + self.text() }
        // Those that follow stand alone.
        if meaningPercent > 0, mode.pooling != .statement, chance(50) {
            // What is left behind would be cleaned away, and the statements with it.
            text = direct.status == .idle ? "begin" : "set local mark \(token())"
        }
        if meaningPercent == 0, chance(20) {
            let token = token()
            text = "set followed = '\(token)'"
            if isSurelyHeld { heldSettings.insert(token) }
        }
        if isSurelyHeld {
            if chance(20) { text = "peek mark" }
            // Also in a statement pool.
            if chance(8) { text = "begin" }
        }
        let endsTransaction = direct.status != .idle && chance(40)
        if endsTransaction { text = chance(50) ? "commit" : "rollback" }
        return bytes { $0.appendQuery(text) }
    }

    /// Several statements up to a Sync. Names of this batch only, or that are surely there.
    mutating func batch(_ usable: inout [String], endsWithSync: Bool) -> [UInt8] {
        var result: [UInt8] = []
        var ours: [String] = []
        // Names that this batch touches must not be used by the next of the same group.
        for _ in 0...Int.random(in: 0...3, using: &random) {
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4 where meaningPercent == 0: result += unnamedStatement()
            case 2..<8 where meaningPercent > 0 && !usable.isEmpty:
                result += run(usable.randomElement(using: &random)!)
            case 0..<7: result += newStatement(&ours)
            case 7..<9:
                if let name = (usable + ours).randomElement(using: &random) {
                    result += run(name)
                } else {
                    result += unnamedStatement()
                }
            default:
                if let name = usable.randomElement(using: &random), followsNames {
                    usable.removeAll { $0 == name }
                    result += bytes { $0.appendCloseStatement(name: name) }
                } else if let name = ours.randomElement(using: &random) {
                    // The name is taken.
                    let token = token()
                    result += bytes { $0.appendParse(name: name, query: "select \(token)") }
                } else if chance(50) {
                    result += bytes { $0.appendBind(statement: "none") }
                }
            }
        }
        if endsWithSync { result += bytes { $0.appendSync() } }
        names += ours
        return result
    }

    mutating func unnamedStatement() -> [UInt8] {
        let isKnown = unnamed != nil && chance(30)
        let text = text()
        if !isKnown {
            unnamed = nil
            unnamedSent = text
        }
        let limit: Int32 = chance(20) ? 3 : 0
        let describes = chance(50)
        return bytes {
            if !isKnown { $0.appendParse(name: "", query: text) }
            if describes { $0.appendDescribe(statement: "") }
            $0.appendBind()
            $0.appendExecute(maximumRows: limit)
        }
    }

    private mutating func newStatement(_ ours: inout [String]) -> [UInt8] {
        nameCount += 1
        let name = "s\(nameCount)"
        // The same texts again, also of other clients: they share one statement.
        let shared = [
            "show mark", "show profile", "show followed", "", "rows 2 shared", "begin", "rollback",
            "means a", "means b", "means a", "means b",
        ]
        var text = chance(40) ? shared.randomElement(using: &random)! : text()
        if chance(meaningPercent) { text = chance(90) ? "means a" : "means b" }
        if mode.pooling == .statement, text == "begin" || text == "rollback" { text = "show mark" }
        if text.hasPrefix("means"), !direct.prepared.values.contains(text), !isNew(text) {
            parsedAt[text] = direct.schema
        }
        ours.append(name)
        let parse = bytes { $0.appendParse(name: name, query: text) }
        // Whether a failed transaction refuses a Parse that nothing follows is not worth a turn to
        // the server: only in a pipeline could the broker not know that it has failed.
        return isPipelined || chance(70) ? parse + run(name) : parse
    }

    /// Something that the client has, and that a simple query can execute.
    private mutating func executable(_ usable: [String]) -> String? {
        usable.filter {
            let first = direct.prepared[$0]?.split(separator: " ").first
            return first == "means" || first == "rows" || first == "show"
        }.randomElement(using: &random)
    }

    /// Parsed in what is being made up.
    private func isNew(_ text: String) -> Bool { parsedAt[text] == direct.schema }

    /// DDL has changed what texts mean.
    mutating func alter(_ schema: Int) { direct.schema = schema }

    private mutating func run(_ name: String) -> [UInt8] {
        let describes = chance(40)
        let portal = chance(20) ? "p\(token())" : ""
        return bytes {
            if describes { $0.appendDescribe(statement: name) }
            $0.appendBind(portal: portal, statement: name, texts: ["1", nil])
            $0.appendExecute(portal: portal)
        }
    }

    /// All names go, or one by a simple query. True if nothing may follow before the answer.
    private mutating func drop(_ usable: inout [String], _ group: inout Group) -> Bool {
        unnamed = nil
        let text: String
        switch Int.random(in: 0..<5, using: &random) {
        case 3:
            text = "select \(token()); deallocate all"
            usable = []
        case 4:
            let name = usable.randomElement(using: &random)!
            usable.removeAll { $0 == name }
            text =
                chance(50)
                ? "deallocate \(name); select \(token())" : "fail \(token()); deallocate \(name)"
        case 0:
            text = "deallocate all"
            usable = []
        case 1:
            text = "discard all"
            usable = []
        default:
            let name = usable.randomElement(using: &random)!
            usable.removeAll { $0 == name }
            text = "deallocate \(name)"
        }
        group.parts.append(Part(bytes: bytes { $0.appendQuery(text) }))
        return text == "discard all"
    }

    // MARK: Groups of several parts

    private mutating func copyGroup(_ group: inout Group) {
        let token = token()
        let isExtended = chance(50)
        let syncsFirst = chance(60)
        let fails = chance(30)
        let isAhead = chance(30)
        unnamed = nil
        // Nothing else is to begin a copy.
        unnamedSent = "none"
        let start = bytes {
            guard isExtended else {
                $0.appendQuery("copy in \(token)")
                return
            }
            $0.appendParse(name: "", query: "copy in \(token)")
            $0.appendBind()
            $0.appendExecute()
            if syncsFirst { $0.appendSync() }
        }
        let rows = Int.random(in: 0...5, using: &random)
        let givesUp = chance(20)
        let rest = bytes {
            for row in 0..<rows { $0.appendCopyData(Array("row \(row)".utf8)) }
            if fails { $0.appendCopyData([UInt8(ascii: "x")]) }
            if givesUp { $0.appendCopyFail("no") } else { $0.appendCopyDone() }
            if isExtended { $0.appendSync() }
        }
        // The answer to this Sync depends on when the copy fails: PostgreSQL's own race.
        if isAhead {
            group.parts.append(Part(bytes: start + rest))
        } else {
            group.parts += [Part(bytes: start), Part(bytes: rest)]
        }
    }

    /// A batch whose answers come by a Flush, and its Sync later.
    private mutating func flushGroup(_ group: inout Group) {
        var none: [String] = []
        let start = batch(&none, endsWithSync: false)
        let more = chance(50) ? batch(&none, endsWithSync: false) : []
        group.parts += [
            Part(bytes: start + bytes { $0.appendFlush() }),
            Part(bytes: more + bytes { $0.appendSync() }),
        ]
    }

    func bytes(_ write: (inout [UInt8]) -> Void) -> [UInt8] {
        var bytes: [UInt8] = []
        write(&bytes)
        return bytes
    }
}

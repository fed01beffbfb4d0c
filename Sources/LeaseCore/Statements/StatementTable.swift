// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// A prepared statement that some client named, by its slot in the table.
package struct StatementID: Hashable, Sendable {
    package let slot: UInt32

    package init(slot: UInt32) { self.slot = slot }
}

/// All named statements of all clients.
///
/// **What is shared, and why it does not show.** A Parse means what it means now, with its client's settings. So
/// each Parse of a client's is a statement of its own at first, and a server always parses it: errors, types
/// and tables are those of the moment. Only when the server has described what it parsed does the statement
/// become one with that of others: the same text and parameter types, in the same pool, under the same settings
/// (`ParseEnvironment`), with the same types of parameters and columns. Then the server keeps one statement for
/// all of them, which is what sharing saves: `max_prepared_statements` holds for all clients, and a client finds
/// what another one had prepared on a server that it comes to.
///
/// Three rules keep it from showing:
/// - a copy on a server serves a client only if it was parsed no earlier than the client's own
///   (`ClientStatement.since`): between the two a type may have been made again, or a function that fits better;
/// - what was parsed where the session may differ from its client's profile is shared with nobody, and neither
///   is a text that means the time of its Parse;
/// - a client whose settings have changed since goes on with a statement of its own: PostgreSQL analyses a
///   statement again when what it depends on has changed, under the settings of whoever binds it then.
///
/// When a server must be told a statement again, the types that its parameters were found to have are named, so
/// that they stay what the client was told.
///
/// A client's name and a server's prepared statement each count as one reference; the last one
/// that goes frees the entry. A name is never used again for another text.
package struct StatementTable: ~Copyable {
    private struct Entry {
        /// A Parse message's body behind its name: text, NUL, parameter types.
        var body: [UInt8] = []
        /// The name on servers that have not parsed it under another.
        var name: [UInt8] = []
        var references = 0
        var taint = SessionTaint.nothing
        var setScope: SetScope = .nothing
        /// What it may set by name; nil: nothing, and nothing else of it is looked at when it is bound.
        var settingNames: SettingNames?
        /// There is something in `settingNames`: it is looked at again whenever it is bound.
        var isLookedAtAgain = false
        /// What it puts back.
        var reset: SettingsReset?
        /// It has a parenthesis.
        var calls = false
        /// It names other prepared statements: those of its client.
        var namesOthers = false
        /// It gives a name to one.
        var prepares = false
        /// Where it means what it means; nil: to its client only.
        var environment: ParseEnvironment?
        /// Once it is known.
        var meaning: ParsedMeaning?
        /// It is the one in `shared`.
        var isFound = false
    }

    private var entries: [Entry] = []
    private var free: [UInt32] = []
    /// By body and environment.
    private var shared = ByteTable<UInt32>()
    private var serial: UInt64 = 0
    /// Of the bodies here, and of the unnamed statements that clients keep.
    package var memory = StatementMemory()
    /// Room for the next unnamed statement that is kept: nobody's.
    var spareBody: [UInt8] = []
    private var clock: UInt64 = 0

    package init() {}

    package var count: Int { entries.count - free.count }

    /// The moment at which a server is sent a Parse: each is later than those before it.
    package mutating func tick() -> UInt64 {
        clock += 1
        return clock
    }

    /// A new statement with this body and one reference. With an environment it may be shared, once its
    /// meaning is known.
    package mutating func make(
        _ body: UnsafeRawBufferPointer, in environment: ParseEnvironment?
    ) -> StatementID {
        let text = statementText(body)
        var entry = Entry(body: Array(body), references: 1)
        entry.taint = SessionTaint.inText(text)
        entry.setScope = SetScope.of(text)
        entry.reset = SettingsReset.statement(text)
        entry.calls = CalledNames.firstParenthesis(in: text) < text.count
        if ClientTurn.mayName(text, entry.taint) {
            entry.settingNames = SettingNames.inText(text)
            entry.isLookedAtAgain = true
            entry.setScope.formUnion(.named)
        } else if entry.taint.has(.pinning) || DatabaseCommand.database(wantedBy: text) != nil {
            entry.settingNames = SettingNames.none
            entry.isLookedAtAgain = true
        }
        // One that is too long to be looked through is its client's own.
        guard text.count <= ClientTurn.parseScanLimit else { return insert(entry) }
        if StatementReference.mayOccur(in: text) {
            let references = StatementReference.all(in: text)
            entry.namesOthers = references.contains {
                $0.kind == .execute || $0.kind == .deallocate
            }
            entry.prepares = references.contains { $0.kind == .prepare }
        }
        if !entry.namesOthers, !ParseMeaning.dependsOnTime(text) { entry.environment = environment }
        return insert(entry)
    }

    /// What is shared of this body there.
    package func find(
        _ body: UnsafeRawBufferPointer, in environment: ParseEnvironment
    ) -> StatementID? {
        var key = Array(body)
        environment.append(to: &key)
        return key.withUnsafeBytes { shared.value(for: $0) }.map { StatementID(slot: $0) }
    }

    /// The same statement for one client alone, with one reference.
    package mutating func fork(_ id: StatementID) -> StatementID {
        var entry = entries[Int(id.slot)]
        entry.references = 1
        entry.environment = nil
        entry.isFound = false
        return insert(entry)
    }

    private mutating func insert(_ entry: Entry) -> StatementID {
        serial += 1
        var entry = entry
        entry.name = Array("pglease_\(serial)".utf8)
        memory.take(entry.body.count)
        if let slot = free.popLast() {
            entries[Int(slot)] = entry
            return StatementID(slot: slot)
        }
        entries.append(entry)
        return StatementID(slot: UInt32(entries.count - 1))
    }

    /// A server has described it. Returns the statement that stands for it from now on, among all that may
    /// share it; nil if it stays its client's own. Where another meaning was shared, this one takes its place:
    /// those who have the other keep it.
    package mutating func learn(
        _ id: StatementID, _ meaning: ParsedMeaning, mayShare: Bool
    ) -> StatementID? {
        let slot = Int(id.slot)
        entries[slot].meaning = meaning
        guard mayShare, let environment = entries[slot].environment else { return nil }
        var key = entries[slot].body
        environment.append(to: &key)
        return key.withUnsafeBytes { key in
            if let other = shared.value(for: key) {
                if entries[Int(other)].meaning == meaning { return StatementID(slot: other) }
                entries[Int(other)].isFound = false
            }
            shared.insert(id.slot, for: key)
            entries[slot].isFound = true
            return id
        }
    }

    package mutating func retain(_ id: StatementID) {
        assert(entries[Int(id.slot)].references > 0, "a statement nobody refers to is retained")
        entries[Int(id.slot)].references += 1
    }

    package mutating func release(_ id: StatementID) {
        let slot = Int(id.slot)
        precondition(entries[slot].references > 0, "a statement is released once too often")
        entries[slot].references -= 1
        guard entries[slot].references == 0 else { return }
        if entries[slot].isFound, let environment = entries[slot].environment {
            var key = entries[slot].body
            environment.append(to: &key)
            key.withUnsafeBytes { _ = shared.remove($0) }
        }
        memory.release(entries[slot].body.count)
        entries[slot] = Entry()
        free.append(id.slot)
    }

    package func environment(of id: StatementID) -> ParseEnvironment? {
        entries[Int(id.slot)].environment
    }
    package func name(of id: StatementID) -> [UInt8] { entries[Int(id.slot)].name }
    package func body(of id: StatementID) -> [UInt8] { entries[Int(id.slot)].body }
    package func taint(of id: StatementID) -> SessionTaint { entries[Int(id.slot)].taint }
    package func settingNames(of id: StatementID) -> SettingNames? {
        entries[Int(id.slot)].settingNames
    }
    func prepares(_ id: StatementID) -> Bool { entries[Int(id.slot)].prepares }
    func isLookedAtAgain(_ id: StatementID) -> Bool { entries[Int(id.slot)].isLookedAtAgain }
    func calls(_ id: StatementID) -> Bool { entries[Int(id.slot)].calls }
    package func setScope(of id: StatementID) -> SetScope { entries[Int(id.slot)].setScope }
    func reset(by id: StatementID) -> SettingsReset? { entries[Int(id.slot)].reset }
    package func namesOthers(_ id: StatementID) -> Bool { entries[Int(id.slot)].namesOthers }

    /// The body with which a server is told it again: its parameters have the types that they were found
    /// to have.
    package func definition(of id: StatementID) -> [UInt8] {
        let entry = entries[Int(id.slot)]
        guard let meaning = entry.meaning, let end = entry.body.firstIndex(of: 0) else {
            return entry.body
        }
        return entry.body[...end] + meaning.parameterTypes
    }

    /// References counted, for the tests.
    package func references(to id: StatementID) -> Int { entries[Int(id.slot)].references }
}

/// The text of a Query body: all but the NUL at its end. PostgreSQL refuses one with a NUL inside.
@inline(__always)
func queryText(_ body: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    guard let last = body.last, last == 0 else { return body }
    return UnsafeRawBufferPointer(rebasing: body.dropLast())
}

/// The text in front of the NUL of a Parse body.
func statementText(_ body: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
    let end = firstNUL(in: body, from: 0) ?? body.count
    return UnsafeRawBufferPointer(rebasing: body[..<end])
}

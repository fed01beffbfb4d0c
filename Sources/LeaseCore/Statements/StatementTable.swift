package import PostgresWire

/// A prepared statement that some client named, by its slot in the table.
package struct StatementID: Hashable, Sendable {
    package let slot: UInt32

    package init(slot: UInt32) { self.slot = slot }
}

/// All named statements of all clients: the same text with the same parameter types is one
/// statement, with one name on every server.
///
/// A client's name and a server's prepared statement each count as one reference; the last one
/// that goes frees the entry. A name is never used again for another text.
package struct StatementTable {
    private struct Entry {
        /// A Parse message's body behind its name: text, NUL, parameter types.
        var body: [UInt8] = []
        /// The name on servers.
        var name: [UInt8] = []
        var references = 0
        var taint: SessionTaint = []
        var isTransactionLocalSet = false
        var isRetired = false
    }

    private var entries: [Entry] = []
    private var free: [UInt32] = []
    private var byBody = ByteTable<UInt32>()
    private var serial: UInt64 = 0
    /// Of the bodies here, and of the unnamed statements that clients keep.
    package var memory = StatementMemory()

    package init() {}

    package var count: Int { entries.count - free.count }

    /// The statement with this body, made if it is new, with one more reference.
    package mutating func intern(_ body: UnsafeRawBufferPointer) -> StatementID {
        if let slot = byBody.value(for: body) {
            entries[Int(slot)].references += 1
            return StatementID(slot: slot)
        }
        serial += 1
        let text = statementText(body)
        let entry = Entry(
            body: Array(body), name: Array("pglease_\(serial)".utf8), references: 1,
            taint: SessionTaint.inText(text),
            isTransactionLocalSet: SessionTaint.isTransactionLocalSet(text))
        let slot: UInt32
        if let reused = free.popLast() {
            slot = reused
            entries[Int(slot)] = entry
        } else {
            slot = UInt32(entries.count)
            entries.append(entry)
        }
        byBody.insert(slot, for: body)
        memory.take(body.count)
        return StatementID(slot: slot)
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
        if !entries[slot].isRetired {
            entries[slot].body.withUnsafeBytes { _ = byBody.remove($0) }
        }
        memory.release(entries[slot].body.count)
        entries[slot] = Entry()
        free.append(id.slot)
    }

    /// Whoever prepares the same text from now on gets another statement. Those who have this one keep it.
    package mutating func retire(_ id: StatementID) {
        let slot = Int(id.slot)
        guard entries[slot].references > 0, !entries[slot].isRetired else { return }
        entries[slot].isRetired = true
        entries[slot].body.withUnsafeBytes { _ = byBody.remove($0) }
    }

    package func name(of id: StatementID) -> [UInt8] { entries[Int(id.slot)].name }
    package func body(of id: StatementID) -> [UInt8] { entries[Int(id.slot)].body }
    package func taint(of id: StatementID) -> SessionTaint { entries[Int(id.slot)].taint }
    package func isTransactionLocalSet(_ id: StatementID) -> Bool {
        entries[Int(id.slot)].isTransactionLocalSet
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
    let end = body.firstIndex(of: 0) ?? body.count
    return UnsafeRawBufferPointer(rebasing: body[..<end])
}

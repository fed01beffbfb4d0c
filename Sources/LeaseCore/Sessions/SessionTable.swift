// SPDX-License-Identifier: Apache-2.0

/// Sessions by slot, each at an address of its own until it is removed: reaching one copies nothing.
///
/// Sessions lie in chunks, so that a growing table moves nobody. Who is given a slot is told a generation with it: an
/// identity is never used twice.
///
/// Invariant: an entry has the generation of its slot's session; 0 where there is none.
package struct SessionTable<ID: GenerationalIdentity, Session: ~Copyable>: ~Copyable {
    private struct Entry {
        let session: UnsafeMutablePointer<Session>
        var generation: UInt32 = 0
    }

    private static var chunkSize: Int { 64 }

    private var chunks: [UnsafeMutablePointer<Session>] = []
    private var entries = SlotArray<Entry>()
    package private(set) var count = 0

    init() {}

    deinit {
        for slot in entries.indices where entries[slot].generation != 0 {
            entries[slot].session.deinitialize(count: 1)
        }
        for chunk in chunks { chunk.deallocate() }
    }

    /// A session is there, and is the one that is meant.
    @inline(__always)
    package func contains(_ id: ID) -> Bool {
        Int(id.slot) < entries.count && id.generation != 0
            && entries[Int(id.slot)].generation == id.generation
    }

    /// Where the session lies, for many accesses in a row; there must be one. Valid until it is removed.
    @inline(__always)
    func address(of id: ID) -> UnsafeMutablePointer<Session> {
        let entry = entries.address(Int(id.slot))
        precondition(
            entry.pointee.generation == id.generation, "a session that is gone is asked for")
        return entry.pointee.session
    }

    /// The session; there must be one.
    @inline(__always)
    package subscript(id: ID) -> Session {
        unsafeAddress { UnsafePointer(address(of: id)) }
        unsafeMutableAddress { address(of: id) }
    }

    mutating func insert(_ session: consuming Session, at id: ID) {
        precondition(id.generation != 0, "an identity without a generation is given")
        while entries.count <= id.slot { addChunk() }
        let entry = entries.address(Int(id.slot))
        precondition(entry.pointee.generation == 0, "a slot is given twice")
        entry.pointee.generation = id.generation
        entry.pointee.session.initialize(to: session)
        count += 1
    }

    private mutating func addChunk() {
        let chunk = UnsafeMutablePointer<Session>.allocate(capacity: Self.chunkSize)
        chunks.append(chunk)
        for place in 0..<Self.chunkSize { entries.append(Entry(session: chunk + place)) }
    }

    mutating func remove(_ id: ID) -> Session {
        precondition(contains(id), "a session that is gone is removed")
        let entry = entries.address(Int(id.slot))
        entry.pointee.generation = 0
        count -= 1
        return entry.pointee.session.move()
    }

    /// Who is there; nil for nobody.
    func id(at slot: Int) -> ID? {
        guard slot < entries.count, entries[slot].generation != 0 else { return nil }
        return ID(slot: UInt32(slot), generation: entries[slot].generation)
    }

    /// In the order of their slots.
    package var ids: [ID] { entries.indices.compactMap { id(at: $0) } }
}

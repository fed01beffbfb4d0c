/// Sessions by slot, each at an address of its own until it is removed: reaching one copies nothing.
///
/// Slots come in chunks, so that a growing table moves nobody. Who is given a slot is told a generation with it: an
/// identity is never used twice.
///
/// Invariant: `generations` has that of each slot's session; 0 where there is none.
package struct SessionTable<ID: GenerationalIdentity, Session: ~Copyable>: ~Copyable {
    private static var chunkSize: Int { 64 }

    private var chunks: [UnsafeMutablePointer<Session>] = []
    private var generations: [UInt32] = []
    package private(set) var count = 0

    init() {}

    deinit {
        for slot in generations.indices where generations[slot] != 0 {
            (chunks[slot / Self.chunkSize] + slot % Self.chunkSize).deinitialize(count: 1)
        }
        for chunk in chunks { chunk.deallocate() }
    }

    @inline(__always)
    private func address(_ slot: UInt32) -> UnsafeMutablePointer<Session> {
        chunks[Int(slot) / Self.chunkSize] + Int(slot) % Self.chunkSize
    }

    /// Where the session is; there must be one. For a table that shows its own sessions as this one does.
    @inline(__always)
    func address(of id: ID) -> UnsafeMutablePointer<Session> {
        precondition(contains(id), "a session that is gone is asked for")
        return address(id.slot)
    }

    /// A session is there, and is the one that is meant.
    @inline(__always)
    package func contains(_ id: ID) -> Bool {
        Int(id.slot) < generations.count && generations[Int(id.slot)] == id.generation
            && id.generation != 0
    }

    /// Where the session lies, for many accesses in a row; there must be one. Valid until it is removed.
    @inline(__always)
    func address(of id: ID) -> UnsafeMutablePointer<Session> {
        precondition(contains(id), "a session that is gone is asked for")
        return address(id.slot)
    }

    /// The session; there must be one.
    @inline(__always)
    package subscript(id: ID) -> Session {
        unsafeAddress {
            precondition(contains(id), "a session that is gone is asked for")
            return UnsafePointer(address(id.slot))
        }
        unsafeMutableAddress {
            precondition(contains(id), "a session that is gone is changed")
            return address(id.slot)
        }
    }

    mutating func insert(_ session: consuming Session, at id: ID) {
        let slot = Int(id.slot)
        while generations.count <= slot { generations.append(0) }
        while chunks.count * Self.chunkSize <= slot {
            chunks.append(.allocate(capacity: Self.chunkSize))
        }
        precondition(generations[slot] == 0, "a slot is given twice")
        generations[slot] = id.generation
        address(id.slot).initialize(to: session)
        count += 1
    }

    mutating func remove(_ id: ID) -> Session {
        precondition(contains(id), "a session that is gone is removed")
        generations[Int(id.slot)] = 0
        count -= 1
        return address(id.slot).move()
    }

    var slotCount: Int { generations.count }

    /// Who is there; nil for nobody.
    func id(at slot: Int) -> ID? {
        guard slot < generations.count, generations[slot] != 0 else { return nil }
        return ID(slot: UInt32(slot), generation: generations[slot])
    }

    /// In the order of their slots.
    package var ids: [ID] { generations.indices.compactMap { id(at: $0) } }
}

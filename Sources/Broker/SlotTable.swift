import LeaseCore

/// The clients by slot and generation. A slot is used again under the next generation.
struct SlotTable<Element: AnyObject> {
    private var elements: [Element?] = []
    private var generations: [UInt32] = []
    private var free: [UInt32] = []
    private(set) var count = 0

    /// Reserves an identity; `insert` must follow.
    mutating func reserve() -> ClientID {
        if let slot = free.popLast() {
            return ClientID(slot: slot, generation: generations[Int(slot)])
        }
        elements.append(nil)
        generations.append(1)
        return ClientID(slot: UInt32(elements.count - 1), generation: 1)
    }

    mutating func insert(_ element: Element, at id: ClientID) {
        precondition(elements[Int(id.slot)] == nil && generations[Int(id.slot)] == id.generation)
        elements[Int(id.slot)] = element
        count += 1
    }

    mutating func remove(_ id: ClientID) {
        guard self[id] != nil else { return }
        elements[Int(id.slot)] = nil
        generations[Int(id.slot)] &+= 1
        free.append(id.slot)
        count -= 1
    }

    /// nil for a client that is gone.
    subscript(id: ClientID) -> Element? {
        guard id.slot < elements.count, generations[Int(id.slot)] == id.generation else {
            return nil
        }
        return elements[Int(id.slot)]
    }

    var all: some Sequence<Element> { elements.lazy.compactMap { $0 } }
}

/// The server connections by the slots that the scheduler gave them.
struct ServerTable {
    private var elements: [ServerConnection?] = []
    private(set) var count = 0

    subscript(slot: UInt32) -> ServerConnection? {
        get { slot < elements.count ? elements[Int(slot)] : nil }
        set {
            while elements.count <= slot { elements.append(nil) }
            count += (newValue == nil ? 0 : 1) - (elements[Int(slot)] == nil ? 0 : 1)
            elements[Int(slot)] = newValue
        }
    }

    var values: some Sequence<ServerConnection> { elements.lazy.compactMap { $0 } }
}

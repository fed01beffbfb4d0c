// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// Connections by the slot of their identity, which the engine gives out.
struct SlotTable<ID: GenerationalIdentity, Element: AnyObject> {
    private var elements: [(generation: UInt32, element: Element)?] = []
    private(set) var count = 0

    mutating func insert(_ element: Element, at id: ID) {
        while elements.count <= id.slot { elements.append(nil) }
        precondition(elements[Int(id.slot)] == nil, "a slot is given twice")
        elements[Int(id.slot)] = (id.generation, element)
        count += 1
    }

    mutating func remove(_ id: ID) {
        guard self[id] != nil else { return }
        elements[Int(id.slot)] = nil
        count -= 1
    }

    /// nil for one that is gone.
    subscript(id: ID) -> Element? {
        guard id.slot < elements.count, let found = elements[Int(id.slot)],
            found.generation == id.generation
        else { return nil }
        return found.element
    }

    var values: some Sequence<Element> { elements.lazy.compactMap { $0?.element } }
}

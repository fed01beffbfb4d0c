// SPDX-License-Identifier: Apache-2.0

/// A row of slots that grows, and that nobody shares: an element is read and changed where it lies, without the
/// question whether somebody else has the row, which an `Array` asks before each change.
struct SlotArray<Element>: ~Copyable {
    private var elements: UnsafeMutablePointer<Element>
    private var capacity: Int
    private(set) var count = 0

    init() {
        capacity = 8
        elements = .allocate(capacity: capacity)
    }

    deinit {
        elements.deinitialize(count: count)
        elements.deallocate()
    }

    /// Where the element lies, until the row grows.
    @inline(__always)
    func address(_ index: Int) -> UnsafeMutablePointer<Element> {
        precondition(index >= 0 && index < count, "there is no such slot")
        return elements + index
    }

    @inline(__always)
    subscript(index: Int) -> Element {
        unsafeAddress {
            precondition(index >= 0 && index < count, "there is no such slot")
            return UnsafePointer(elements + index)
        }
        unsafeMutableAddress {
            precondition(index >= 0 && index < count, "there is no such slot")
            return elements + index
        }
    }

    mutating func append(_ element: consuming Element) {
        if count == capacity { grow() }
        (elements + count).initialize(to: element)
        count += 1
    }

    private mutating func grow() {
        let grown = UnsafeMutablePointer<Element>.allocate(capacity: 2 * capacity)
        grown.moveInitialize(from: elements, count: count)
        elements.deallocate()
        elements = grown
        capacity *= 2
    }

    @inline(__always)
    var indices: Range<Int> { 0..<count }

    /// A copy of all of them, for views and checks.
    var all: [Element] { Array(UnsafeBufferPointer(start: elements, count: count)) }
}

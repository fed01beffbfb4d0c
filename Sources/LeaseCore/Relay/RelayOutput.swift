// SPDX-License-Identifier: Apache-2.0

/// What one turn of the relay has for one side.
///
/// As long as messages pass unchanged it is a range of the input, written from where it was read; the first byte of
/// our own turns it into a composed copy, behind which what passes is a range again until the next byte of our own.
/// In the end it is one write.
package struct RelayOutput: ~Copyable {
    /// What was composed. Reused from turn to turn, and owned: its address is good until the next change.
    private var composed: UnsafeMutableRawBufferPointer
    private var composedCount = 0
    /// The part of the input that passes behind that.
    private var run = 0..<0
    /// Where others write. Reused, too.
    private var scratch: [UInt8] = []

    package init() {
        composed = .allocate(byteCount: Self.usualCapacity, alignment: 1)
    }

    deinit { composed.deallocate() }

    private static var usualCapacity: Int { 4096 }
    /// One huge message must not pin its size for ever.
    private static var longestKept: Int { 1 << 18 }

    package var isEmpty: Bool { run.isEmpty && composedCount == 0 }

    package mutating func reset() {
        run = 0..<0
        composedCount = 0
        if composed.count > Self.longestKept {
            composed.deallocate()
            composed = .allocate(byteCount: Self.usualCapacity, alignment: 1)
        }
    }

    /// Passes a part of the input on.
    @inline(__always)
    package mutating func pass(_ range: Range<Int>, of input: UnsafeRawBufferPointer) {
        if run.upperBound == range.lowerBound {
            run = run.lowerBound..<range.upperBound
        } else {
            compose(input)
            run = range
        }
    }

    /// Passes a message on with another string at `name`, its length made to fit. All are places in the input, of
    /// which `message` ends where the input may, before the message does.
    package mutating func pass(
        _ message: Range<Int>, as newName: [UInt8], at name: Range<Int>, bodyLength: Int,
        of input: UnsafeRawBufferPointer
    ) {
        compose(input)
        let head = name.lowerBound - message.lowerBound
        let place = room(for: head + newName.count)
        place.copyMemory(from: input.baseAddress! + message.lowerBound, byteCount: head)
        let length = UInt32(bodyLength - name.count + newName.count + 4)
        place.storeBytes(of: length.bigEndian, toByteOffset: 1, as: UInt32.self)
        newName.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return }
            (place + head).copyMemory(from: base, byteCount: bytes.count)
        }
        run = name.upperBound..<message.upperBound
    }

    /// Adds bytes of our own.
    package mutating func inject(
        after input: UnsafeRawBufferPointer, _ write: (inout [UInt8]) -> Void
    ) {
        compose(input)
        write(&scratch)
        scratch.withUnsafeBytes { append($0) }
        scratch.removeAll(keepingCapacity: scratch.capacity <= Self.longestKept)
    }

    /// The bytes, wherever they lie: good until the input goes, or this is changed.
    @inline(__always)
    package mutating func bytes(of input: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        if composedCount == 0 { return UnsafeRawBufferPointer(rebasing: input[run]) }
        compose(input)
        return UnsafeRawBufferPointer(rebasing: composed[..<composedCount])
    }

    @inline(__always)
    private mutating func compose(_ input: UnsafeRawBufferPointer) {
        guard !run.isEmpty else { return }
        append(UnsafeRawBufferPointer(rebasing: input[run]))
        run = 0..<0
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        room(for: bytes.count).copyMemory(from: base, byteCount: bytes.count)
    }

    /// Where so many bytes are to be written next.
    @inline(__always)
    private mutating func room(for count: Int) -> UnsafeMutableRawPointer {
        let start = composedCount
        composedCount += count
        if composedCount > composed.count { grow(keeping: start) }
        return composed.baseAddress! + start
    }

    @inline(never)
    private mutating func grow(keeping count: Int) {
        let larger = UnsafeMutableRawBufferPointer.allocate(
            byteCount: max(composedCount, composed.count * 2), alignment: 1)
        larger.copyMemory(from: UnsafeRawBufferPointer(rebasing: composed[..<count]))
        composed.deallocate()
        composed = larger
    }
}

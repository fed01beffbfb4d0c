/// What one turn of the relay has for one side.
///
/// As long as messages pass unchanged it is a range of the input, written from where it was read;
/// the first byte of our own turns it into a composed copy. Either way it is one write.
package struct RelayOutput {
    /// The part of the input that passes, when nothing was composed.
    @usableFromInline
    private(set) var run = 0..<0
    /// What was composed, else empty. Reused from turn to turn.
    @usableFromInline
    private(set) var composed: [UInt8] = []

    package init() { composed.reserveCapacity(4096) }

    package var isEmpty: Bool { run.isEmpty && composed.isEmpty }

    package mutating func reset() {
        run = 0..<0
        if composed.isEmpty { return }
        // One huge message must not pin its size for ever.
        composed.removeAll(keepingCapacity: composed.capacity <= 1 << 18)
    }

    /// Passes a part of the input on.
    @inline(__always)
    package mutating func pass(_ range: Range<Int>, of input: UnsafeRawBufferPointer) {
        guard composed.isEmpty else {
            composed.append(contentsOf: UnsafeRawBufferPointer(rebasing: input[range]))
            return
        }
        if run.isEmpty {
            run = range
        } else if run.upperBound == range.lowerBound {
            run = run.lowerBound..<range.upperBound
        } else {
            compose(input)
            composed.append(contentsOf: UnsafeRawBufferPointer(rebasing: input[range]))
        }
    }

    /// Adds bytes of our own.
    package mutating func inject(
        after input: UnsafeRawBufferPointer, _ write: (inout [UInt8]) -> Void
    ) {
        compose(input)
        write(&composed)
    }

    /// The bytes, wherever they lie.
    @inlinable @inline(__always)
    package func withBytes<Result>(
        of input: UnsafeRawBufferPointer, _ body: (UnsafeRawBufferPointer) -> Result
    ) -> Result {
        if composed.isEmpty { return body(UnsafeRawBufferPointer(rebasing: input[run])) }
        return composed.withUnsafeBytes(body)
    }

    /// The bytes, if they are a part of the input as it came.
    @inline(__always)
    func passed(of input: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer? {
        composed.isEmpty ? UnsafeRawBufferPointer(rebasing: input[run]) : nil
    }

    /// What was composed; `giveBack` follows.
    mutating func takeComposed() -> [UInt8] {
        run = 0..<0
        return exchange(&composed, with: [])
    }

    /// The room of what was taken is used again.
    mutating func giveBack(_ bytes: consuming [UInt8]) {
        bytes.removeAll(keepingCapacity: bytes.capacity <= 1 << 18)
        if composed.isEmpty { composed = bytes }
    }

    private mutating func compose(_ input: UnsafeRawBufferPointer) {
        guard !run.isEmpty else { return }
        composed.append(contentsOf: UnsafeRawBufferPointer(rebasing: input[run]))
        run = 0..<0
    }
}

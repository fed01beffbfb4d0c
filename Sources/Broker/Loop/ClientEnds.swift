import LeaseCore
import LibUV

/// Clients whose ends wait for a later turn of the loop.
///
/// A crowd that goes at once takes its turns like everybody else: what ends clients has a share of each turn's time, and the
/// rest is put off in its order, with those first whose leases others may wait for.
struct ClientEnds {
    struct End {
        var client: ClientID
        /// It has said Terminate; else its socket is at its end.
        var isGoodbye: Bool
    }

    /// First in, first out; what is dealt with is dropped once all is.
    private struct Line {
        private var ends: [End] = []
        private var next = 0

        var isEmpty: Bool { next == ends.count }

        mutating func append(_ end: End) { ends.append(end) }

        mutating func popFirst() -> End? {
            guard !isEmpty else { return nil }
            let end = ends[next]
            next += 1
            if isEmpty { self = Line() }
            return end
        }
    }

    private var holders = Line()
    private var others = Line()
    /// Nanoseconds of this turn that ends have taken.
    private var took: Int64 = 0

    /// Of one turn, in nanoseconds.
    private static let share: Int64 = 300_000

    var isEmpty: Bool { holders.isEmpty && others.isEmpty }
    var hasTime: Bool { took < Self.share }

    mutating func count(_ nanoseconds: Int64) { took += nanoseconds }

    mutating func turnIsOver() { took = 0 }

    mutating func putOff(_ end: End, isHolder: Bool) {
        if isHolder { holders.append(end) } else { others.append(end) }
    }

    mutating func next() -> End? { holders.popFirst() ?? others.popFirst() }
}

extension Broker {
    /// A client's socket is at its end, or it has said Terminate and nothing else.
    func ended(_ client: ClientConnection, isGoodbye: Bool = false) {
        let end = ClientEnds.End(client: client.id, isGoodbye: isGoodbye)
        if turn.ends.hasTime, turn.ends.isEmpty {
            deal(with: end)
        } else {
            client.endWaits = true
            client.watcher?.watch([])
            turn.ends.putOff(end, isHolder: client.server != nil)
        }
    }

    private func deal(with end: ClientEnds.End) {
        let began = loop.now
        if end.isGoodbye {
            Self.terminate.withUnsafeBytes { engine.clientBytes(end.client, $0, now: now) }
        } else {
            engine.clientInputEnded(end.client, now: now)
        }
        dealWithNotices()
        turn.ends.count(loop.now - began)
    }

    /// Those whose ends were put off, as far as this turn has time for them.
    func endMore() {
        while turn.ends.hasTime, let end = turn.ends.next() {
            guard let client = clients[end.client], !client.isClosed else { continue }
            client.endWaits = false
            deal(with: end)
        }
    }

    private static let terminate: [UInt8] = [UInt8(ascii: "X"), 0, 0, 0, 4]

    /// Whether these bytes are a Terminate and nothing else.
    @inline(__always)
    static func isGoodbye(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count == 5 && bytes[0] == UInt8(ascii: "X")
            && bytes.loadUnaligned(fromByteOffset: 1, as: UInt32.self) == UInt32(4).bigEndian
    }
}

// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibUV

/// What ends clients or their waits, as far as it is left for a later turn of the loop.
///
/// A crowd that goes at once takes its turns like everybody else: its ends have a share of each turn's time, and the
/// rest is put off in its order, with those first whose leases others may wait for.
struct ClientEnds {
    struct End {
        var client: ClientID
        var reason: Reason
    }

    enum Reason {
        /// Its socket is at its end.
        case hungUp
        /// It has said Terminate.
        case goodbye
        /// KILL.
        case killed
        /// Not an end: its wait for a lease is over, and it is owed words.
        case rejected(Rejection)

        var isEnd: Bool {
            if case .rejected = self { return false }
            return true
        }
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
    /// A client's socket is at its end, it has said Terminate and nothing else, or an operator ends it.
    func ended(_ client: ClientConnection, _ reason: ClientEnds.Reason = .hungUp) {
        guard !client.endWaits else { return }
        let end = ClientEnds.End(client: client.id, reason: reason)
        if turn.ends.hasTime, turn.ends.isEmpty {
            deal(with: end)
        } else {
            client.endWaits = true
            client.watcher?.watch([])
            turn.ends.putOff(end, isHolder: client.server != nil)
        }
    }

    /// A client waits no longer, and is told why.
    func rejected(_ client: ClientConnection, _ rejection: Rejection) {
        let end = ClientEnds.End(client: client.id, reason: .rejected(rejection))
        if turn.ends.hasTime, turn.ends.isEmpty {
            deal(with: end)
        } else {
            turn.ends.putOff(end, isHolder: false)
        }
    }

    private func deal(with end: ClientEnds.End) {
        let began = loop.now
        switch end.reason {
        case .hungUp: engine.clientInputEnded(end.client, now: now)
        case .goodbye:
            Self.terminate.withUnsafeBytes { engine.clientBytes(end.client, $0, now: now) }
        case .killed: if let client = clients[end.client] { refuse(client, Self.killed) }
        case .rejected(let rejection):
            if let client = clients[end.client] { reject(client, rejection) }
        }
        dealWithNotices()
        turn.ends.count(loop.now - began)
    }

    /// Those whose ends were put off, as far as this turn has time for them.
    func endMore() {
        while turn.ends.hasTime, let end = turn.ends.next() {
            guard let client = clients[end.client], !client.isClosed else { continue }
            if end.reason.isEnd { client.endWaits = false }
            deal(with: end)
            // It may have answers to come, or the bytes were no goodbye but the middle of a message.
            if end.reason.isEnd { engine.watchAgain(end.client) }
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

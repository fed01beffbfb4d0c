// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// One client, from accept to close, as the engine knows it: its socket is the world's.
///
/// An idle one must stay small: no buffer, nothing of its own that others share.
package struct ClientSession: ~Copyable {
    package enum Phase: Sendable {
        /// The shell speaks with it: it says who it is.
        case login
        /// The shell speaks with it: it is an operator's.
        case console
        /// Waits for the first server of its pool to say what its parameters are.
        case learning
        /// A session pool: waits for its server before it is logged in.
        case awaitingServer
        case ready
        /// It has a walsender of its own: all that it sends passes.
        case replicating
        /// An error is on its way out; nothing more is read.
        case closing
        case closed
    }

    package let id: ClientID
    package internal(set) var phase = Phase.login
    package internal(set) var stream = ClientStream()
    /// Received and not dealt with: a partial message, or what waits for a lease.
    package internal(set) var pending: [UInt8] = []
    package internal(set) var outbound = OutboundBuffer()
    /// It has sent its last; see `Goodbye`.
    package internal(set) var goodbye: Goodbye?
    /// Where it belongs; nil before it is let in.
    package internal(set) var membership: Membership?
    package internal(set) var settings = Settings()
    package internal(set) var request: Request
    /// The server that it holds.
    package internal(set) var server: ServerID?
    package internal(set) var moments: Moments
    var flags = Flags()

    /// The pool and the group whose limits it is under.
    package struct Membership {
        package let pool: PoolSlot
        package let group: GroupID
        /// The table of all groups' times keeps it.
        let times: Unmanaged<GroupTimes>
        /// Whose leases and waits belong together.
        let owner: OwnerKey
        /// The uid of its process; nil over TCP.
        let user: UInt32?
        /// As whom it asks for connections that are for one process only; nil: it gets none of these.
        var peer: PeerID?
    }

    /// What it wants in force, and what it was told of. Each profile holds a reference in the profile table.
    package struct Settings {
        /// From the startup packet, and with what the client set since.
        package var startup = ProfileID.serverDefault
        package var current = ProfileID.serverDefault
        package var told: ParameterSet?
    }

    /// Its wish for a lease.
    package struct Request {
        package var isWaiting = false
        /// When it began to wait, or sent its last message.
        package var since: Instant
        /// Since when its program uses the session without a pause (`LeaseRequest.useSince`), and whether
        /// what it does next is a new use.
        var useSince: Instant
        var isUseOver = false
        /// Servers that were lost one after the other while they were made ready for it.
        var lossesInSetup: UInt8 = 0
        /// The LEASE statement that waits for its answer.
        package var call: LeaseCall?
        /// It was refused, and the shell is to say in which words.
        var awaitsWords = false
    }

    package struct Moments {
        package let connectedAt: Instant
        package var lastActivity: Instant
        /// When it let go of its last lease; its login, if it had none.
        var detachedAt: Instant
        /// It has not taken `outbound` since then.
        var stalledSince: Instant?
        /// Its process is gone since then; a child may have its socket.
        var orphanedAt: Instant?
        /// The shell speaks with it no longer than that.
        var loginDeadline: Instant?
        /// In the engine's heap.
        var nextLook = Instant.endOfTime
    }

    struct Flags {
        /// What it sent is the broker's to answer, once its server owes nothing.
        var awaitsQuiet = false
        var isQueuedToResume = false
        /// A child has spoken since its process is gone: it is the client now.
        var hasOutlivedItsProcess = false
        var isProcessWatched = false
        /// The shell takes no more from it for now.
        var isHeldUp = false
        var isUnix = true
        /// What it parked was taken: it does not know what its settings are now.
        var hasLostParked = false
        /// It knows that its lease may be pinned.
        var wasToldOfPin = false
        var departure = Departure.stays
        var interest = ClientInterest(rawValue: 0)
    }

    init(id: ClientID, now: Instant) {
        self.id = id
        request = Request(since: now, useSince: now)
        moments = Moments(connectedAt: now, lastActivity: now, detachedAt: now)
    }

    /// It holds nothing, and nothing of its own is in the way: what it sends is dealt with at once.
    @inline(__always)
    var isAtRest: Bool {
        phase == .ready && server == nil && pending.isEmpty && outbound.isEmpty
    }

    package var isOpen: Bool { phase != .closing && phase != .closed }
    package var pool: PoolSlot? { membership?.pool }
    package var group: GroupID? { membership?.group }
    package var isWaiting: Bool { request.isWaiting }
    package var call: LeaseCall? { request.call }

    /// It has not been let in yet.
    package var isLoggingIn: Bool {
        switch phase {
        case .login, .learning, .awaitingServer: true
        case .ready, .replicating, .console, .closing, .closed: false
        }
    }
}

/// Bytes that a socket did not take yet, from `start` on.
///
/// Holds memory only while there are some.
package struct OutboundBuffer {
    private var bytes: [UInt8] = []
    private var start = 0

    package var isEmpty: Bool { bytes.isEmpty }
    package var count: Int { bytes.count - start }

    mutating func append(_ more: UnsafeRawBufferPointer) { bytes.append(contentsOf: more) }

    func withUnsent<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        bytes.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[start...])) }
    }

    mutating func drop(_ count: Int) {
        start += count
        if start == bytes.count {
            bytes = []
            start = 0
        } else if start > 1 << 20 {
            bytes.removeFirst(start)
            start = 0
        }
    }
}

/// A LEASE statement of a client that has no answer yet.
package final class LeaseCall {
    package let terms: LeaseTerms
    package let form: LeaseForm

    init(_ terms: LeaseTerms, _ form: LeaseForm) {
        self.terms = terms
        self.form = form
    }

    /// The client's thread as the scheduler knows it.
    var thread: UInt64? { terms.thread.map(Self.number(ofThread:)) }

    /// The number, or one that stands for the text.
    static func number(ofThread text: String) -> UInt64 {
        UInt64(text)
            ?? text.utf8.reduce(14_695_981_039_346_656_037) {
                ($0 ^ UInt64($1)) &* 1_099_511_628_211
            }
    }
}

/// A lease that a client asked for by LEASE, for as long as it has it.
package final class ExplicitLease {
    package internal(set) var terms: LeaseTerms
    /// When the client was told of it.
    package internal(set) var since: Instant

    init(_ terms: LeaseTerms, since: Instant) {
        self.terms = terms
        self.since = since
    }
}

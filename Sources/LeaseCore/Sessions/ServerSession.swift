// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// One connection to PostgreSQL as the engine knows it, from the scheduler's order to open it until its slot is
/// free again. Its socket is the world's; whether it is free, leased or cleaned is the scheduler's to say.
package struct ServerSession: ~Copyable {
    package enum Phase: Sendable {
        case connecting
        /// `connect_query` runs.
        case preparing
        case ready
        /// It is closed, or told to end: its place is still counted.
        case closed
    }

    package let id: ServerID
    package let pool: PoolSlot
    package internal(set) var phase = Phase.connecting
    package internal(set) var stream = ServerStream()
    package internal(set) var profile: InForce
    /// The beginning of a message that must be seen whole.
    package internal(set) var carry: [UInt8] = []
    /// What the socket did not take yet.
    package internal(set) var outbound = OutboundBuffer()
    /// To be sent in one write with the client's first message.
    var prelude: [UInt8] = []
    package private(set) var isLeased = false
    /// Its lease is the hub's of its pool (`PoolHub`): no client has it.
    package internal(set) var isHub = false
    /// The lease; says nothing while `isLeased` is false. An Optional would be asked by a call, some twenty times a
    /// query.
    var holding = HeldLease.none
    /// What LEASE asked for, if that is what it is leased by.
    package internal(set) var explicit: ExplicitLease?
    /// Settings that the client of this lease reset, while its startup values are not in force again.
    var resets: Resets?
    /// Why its client keeps it although no transaction is open; nil: nothing does.
    package internal(set) var pin: Pin?
    /// What passes to its client and from it, if that is a replication client.
    var passage: Passage?
    /// The stream of a client that is gone, while what it left is brought to an end.
    var orphan: OrphanStream?
    var upkeep = Upkeep()
    var recovery = Recovery()
    package internal(set) var moments: Moments
    package internal(set) var facts = Facts()
    var interest = ServerInterest(rawValue: 0)
    /// Bytes of its lease were sent, or are kept until the socket takes them: before the first, a dead server costs
    /// nothing.
    var hasSent = false
    /// Who had the last lease that is over; nil: nobody yet, or it is as new.
    var lastClient: ClientID?
    /// Why the server said that it would end this connection.
    package internal(set) var fatal: PgError?

    /// Which settings are in force in the session. Each profile holds a reference in the profile table.
    package struct InForce {
        /// What was in the startup packet (session pools), else the server's defaults.
        package let startup: ProfileID
        package var current: ProfileID
        /// The one that is being put in force, and whether the client's bytes wait for it.
        var pending: ProfileID?
        package internal(set) var holdsClientBytes = false
        /// What is to be in force again once it is clean: the process that it belongs to comes again.
        var toRestore: ProfileID?
        /// What is taken away first, in the same write.
        var first = First.nothing
        /// How often the broker's own query was cut short and sent again.
        var attempts = 0
        package var parameters = ParameterSet([])

        /// What goes in front of a lease.
        enum First {
            case nothing
            /// What it has drawn from sequences is another lease's.
            case dropsSequences
            /// `isolation = strict`.
            case cleans
        }

        var cleansFirst: Bool { first == .cleans }
    }

    /// A lease, from the grant to its end. A new one is made for each grant: nothing of the last is left.
    ///
    /// Trivial on purpose, as it comes and goes with nearly every query: what few leases have (`explicit`,
    /// `resets`) lies beside it.
    package struct HeldLease {
        package let id: LeaseID
        /// nil: it is gone, and what it left is brought to an end.
        package var client: ClientID?
        package let since: Instant
        /// From the request to the grant, in nanoseconds.
        package let waited: Int64
        /// The client has the descriptor: nothing is read or written here.
        package var isDirect = false
        /// Its client may park it.
        var parking = Parking.none
        /// Of the client's group: it counts there also when the client is gone. The table keeps it.
        var groupTimes: Unmanaged<GroupTimes>?
        package var clock = Clock()
        var drainDeadline: Instant?
        /// What its client left running is cancelled again then, and how often it was.
        var nextCancel: Instant?
        var cancels: UInt8 = 0
        /// The last answers that are owed are to what the broker sent behind its client's messages: it does nothing.
        var answersToNobody = 0
        package var wasWarnedAbout = false
        /// Both ways, and without what goes over a descriptor that was handed out.
        package var bytes = 0
        package var transactions = 0

        static var none: HeldLease {
            HeldLease(id: LeaseID(0), client: nil, since: .zero, waited: 0)
        }

        /// What the broker knows of a lease that may be parked: whether it lies parked, only the token tells.
        enum Parking {
            case none
            /// It is looked at next then.
            case allowed(look: Instant)
            /// It was asked back then, and was not parked: its client has used it ever since.
            case recalled(Instant)
        }

        package struct Clock {
            package var transactionSince: Instant?
            package var querySince: Instant?
            package var idleSince: Instant?
            /// A transaction block was open in this lease.
            var hadTransaction = false
        }
    }

    /// The stream of a client that is gone.
    final class OrphanStream {
        var stream: ClientStream

        init(_ stream: consuming ClientStream) { self.stream = stream }
    }

    /// What a client has on it that can go to no other connection.
    package final class Pin {
        package internal(set) var reasons: PinReasons
        package let since: Instant

        init(_ reasons: PinReasons, since: Instant) {
            self.reasons = reasons
            self.since = since
        }
    }

    /// What a client reset in its lease.
    final class Resets {
        var final: [SettingsReset] = []
        /// In a transaction that may be rolled back.
        var open: [SettingsReset] = []
        /// The client was told its startup values, and the server has its own in force.
        var hasLostProfile = false

        var isEmpty: Bool { final.isEmpty && open.isEmpty }
    }

    /// Cleaning and checking.
    struct Upkeep {
        /// A client reset what `connect_query` put in force: it is cleaned although nothing is left.
        var mustReset = false
        /// What was sent to clean it.
        var cleaning: Cleaning?
        /// A check or reset query must be answered by then.
        var deadline: Instant?
    }

    /// Finding out what was left by somebody whom the broker could not watch.
    struct Recovery {
        /// A client had the descriptor, or its lease was taken away: what was left is not known yet.
        var isUnknown = false
        /// It is being found out.
        var returning: DirectReturn?
        /// What it left running is cancelled then.
        var cancelDeadline: Instant?
        /// Ended in the middle of something: so many more cancels may be needed until it is over.
        var cancelsToCome = 0
    }

    package struct Moments {
        package let openedAt: Instant
        package internal(set) var connectedAt: Instant?
        package internal(set) var lastUsed: Instant
        /// libpq must be through by then.
        var connectDeadline: Instant?
        /// The shell wants to hear of it then.
        var reminder: Instant?
        /// In the engine's heap.
        var nextLook = Instant.endOfTime
    }

    package struct Facts {
        package internal(set) var backendProcessID: Int32 = 0
        /// Some client had the descriptor once, and may have kept a copy.
        package internal(set) var wasHandedOut = false
        package internal(set) var cancelsInFlight = 0
        /// Its host is not the right one any more: whoever holds it leaves it between two transactions.
        package internal(set) var isStranded = false
        /// It may not be what `target_session_attrs` asks for: it is asked when its lease is over.
        var isDoubted = false
        @inline(__always)
        var isQuestionable: Bool { isStranded || isDoubted }
    }

    init(id: ServerID, pool: PoolSlot, startup: ProfileID, now: Instant) {
        self.id = id
        self.pool = pool
        profile = InForce(startup: startup, current: startup)
        moments = Moments(openedAt: now, lastUsed: now)
    }

    mutating func begin(_ lease: HeldLease) {
        assert(!isLeased && explicit == nil && resets == nil, "two leases at once")
        holding = lease
        isLeased = true
        hasSent = false
        if fatal != nil { fatal = nil }
        stream.beginLease()
    }

    /// Forgets the lease with all that belongs to it, but what it was: false if there was none.
    mutating func endLease() -> Bool {
        guard isLeased else { return false }
        isLeased = false
        if explicit != nil { explicit = nil }
        if resets != nil { resets = nil }
        if passage != nil { passage = nil }
        if pin != nil {
            pin = nil
            stream.ownProcess = nil
        }
        return true
    }

    /// Something of the client's goes to it.
    @inline(__always)
    mutating func noteSending(_ now: Instant) {
        if holding.clock.transactionSince == nil { holding.clock.transactionSince = now }
        if let since = holding.clock.querySince {
            // While a batch waited for its client, nothing ran.
            if let idle = holding.clock.idleSince {
                holding.clock.querySince = since + (now - idle)
            }
        } else {
            holding.clock.querySince = now
        }
        holding.clock.idleSince = nil
    }

    /// The client's bytes may go to it now.
    @inline(__always)
    var mayBeSent: Bool { !profile.holdsClientBytes && outbound.isEmpty }

    /// What is to be put back, to be changed.
    mutating func resetsToChange() -> Resets {
        if let resets { return resets }
        let made = Resets()
        resets = made
        return made
    }

    package var lease: HeldLease? { isLeased ? holding : nil }
    package var leaseID: LeaseID? { isLeased ? holding.id : nil }
    package var leasedSince: Instant? { isLeased ? holding.since : nil }
    package var clock: HeldLease.Clock? { isLeased ? holding.clock : nil }
    @inline(__always)
    package var client: ClientID? { isLeased ? holding.client : nil }
    var drainDeadline: Instant? { isLeased ? holding.drainDeadline : nil }
    var nextCancel: Instant? { isLeased ? holding.nextCancel : nil }
    /// A cancel hits the last that runs. In front of that it would let what was sent behind a BEGIN run without it.
    var runsItsLast: Bool { stream.readiesOwed <= holding.answersToNobody + 1 }
    @inline(__always)
    package var isDirect: Bool { isLeased && holding.isDirect }
    var isExplicit: Bool { explicit != nil }
    /// Something may run on it that a cancel would end.
    var mayRunSomething: Bool { stream.isOwing || isDirect || passage?.isBusy == true }
    /// Its client may have parked it.
    package var mayBeParked: Bool {
        guard isDirect else { return false }
        if case .none = holding.parking { return false }
        return true
    }

    /// What the lease does now, and why its client keeps it: `pinned by temporary objects`. No comma is in it.
    package var activityInWords: String {
        guard let pin else { return activity }
        let reasons = PinReasons.named.filter { pin.reasons.contains($0.reason) }.map(\.words)
            .joined(separator: " and ")
        return activity == "pinned"
            ? "pinned by \(reasons)" : "\(activity) and pinned by \(reasons)"
    }

    /// What the lease does now.
    package var activity: String {
        if isDirect { return "direct" }
        if stream.isOwing || passage?.isBusy == true { return "active" }
        switch stream.status {
        case .idle: return pin == nil ? "idle" : "pinned"
        case .inTransaction: return "idle in transaction"
        case .failed: return "idle in transaction (aborted)"
        }
    }
}

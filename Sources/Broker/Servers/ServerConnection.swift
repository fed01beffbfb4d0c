import LeaseCore
import LibPQ
import LibUV
import PostgresWire

/// One connection to PostgreSQL, from the scheduler's order to open it until it is closed.
///
/// Owns the `PGconn`; the relay borrows its socket. Which state it is in is the scheduler's to know: here is
/// only what the bytes need.
final class ServerConnection: FileWatcherDelegate {
    let id: ServerID
    let pool: Pool
    unowned(unsafe) let broker: Broker
    /// What was in the startup packet (session pools), else the server's defaults.
    let startupProfile: ProfileID

    enum Phase {
        case connecting
        /// `connect_query` runs.
        case preparing
        case ready
        case closed
    }

    struct Resets {
        var final: [SettingsReset] = []
        /// In a transaction that may be rolled back.
        var open: [SettingsReset] = []

        var isEmpty: Bool { final.isEmpty && open.isEmpty }
    }

    var phase = Phase.connecting
    var connection: PostgresConnection?
    var watcher: FileWatcher?
    var stream = ServerStream()
    /// What is in force in the session; holds a reference in the profile table.
    var profile: ProfileID
    /// The profile that is being put in force, and whether the client's bytes wait for it.
    var pendingProfile: ProfileID?
    /// What is to be in force again once it is clean: the process that it belongs to comes again. Holds a
    /// reference.
    var profileToRestore: ProfileID?
    var holdsClientBytes = false
    /// A client reset what `connect_query` put in force: the connection is cleaned although nothing is left.
    var mustReset = false
    /// Settings that the client reset in this lease, while its startup values are not in force again.
    var resets = Resets()
    /// The client was told its startup values, and the server has its own in force.
    var hasLostProfile = false
    /// How often the broker's own query was cut short and sent again.
    var attempts = 0
    var parameters = ParameterSet([])
    /// The beginning of a message that must be seen whole.
    var carry: [UInt8] = []
    /// What the socket did not take yet.
    var outbound = OutboundBuffer()
    /// To be sent in one write with the client's first message.
    var prelude: [UInt8] = []

    // The lease.

    unowned(unsafe) var client: ClientSession?
    var lease: LeaseID?
    /// What LEASE asked for, if that is what it is leased by.
    var explicit: ExplicitLease?
    /// The client has the descriptor: nothing is read or written here.
    var isDirect = false
    /// Some client had the descriptor once, and may have kept a copy.
    var wasHandedOut = false
    /// A client had the descriptor, or its lease was taken away: what was left is not known yet.
    var isUnknown = false
    /// Ended in the middle of something: so many more cancels may be needed until it is over.
    var cancelsToCome = 0
    /// It is being found out.
    var returning: DirectReturn?
    /// What it left running is cancelled then.
    var cancelDeadline: Instant?
    /// The stream of a client that is gone, while what it left is brought to an end.
    var orphan: ClientStream?
    /// Of the client's group: it counts there also when the client is gone. The table keeps it.
    unowned(unsafe) var groupTimes: GroupTimes?
    var leaseSince = Instant.zero
    var leaseWaited = Duration.zero
    var transactionSince: Instant?
    var querySince: Instant?
    var idleSince: Instant?
    /// A transaction block was open in this lease.
    var hadTransaction = false
    var drainDeadline: Instant?
    /// What was sent to clean it.
    var cleaning: Cleaning?
    /// A check or reset query must be answered by then.
    var resetDeadline: Instant?
    var wasWarnedAbout = false
    /// Bytes of this lease that the socket took: before the first, a dead server costs nothing.
    var hasSent = false
    /// Why the server said that it would end this connection.
    var fatal: PgError?
    /// Both ways, and without what goes over a descriptor that was handed out.
    var bytesInLease = 0
    var transactionsInLease = 0

    // The connection.

    /// It was told to end, and its place is counted until it has.
    var farewell: Farewell?
    var connectDeadline: Instant?
    /// Of the socket with that number.
    var loginWatch = ServerLoginWatch()
    var loginSocket: UInt64 = 0
    /// The rest of a message of its login may have come by then; and how often it had not.
    var loginLookAt: Instant?
    var loginLooks = 0
    let openedAt: Instant
    var connectedAt: Instant?
    var lastUsed: Instant
    var backendProcessID: Int32 = 0
    var cancelHandle: CancelHandle?
    var cancelsInFlight = 0

    init(id: ServerID, pool: Pool, broker: Broker, startupProfile: ProfileID, now: Instant) {
        self.id = id
        self.pool = pool
        self.broker = broker
        self.startupProfile = startupProfile
        profile = startupProfile
        openedAt = now
        lastUsed = now
    }

    var isLeased: Bool { lease != nil }

    func fileReady(_ events: FileEvents, error: UVError?) {
        switch phase {
        case .connecting: broker.continueConnect(self)
        case .preparing, .ready:
            if events.mayWrite { broker.flush(self) }
            // With TLS a read may have waited for the socket to become writable.
            if phase != .closed, events.mayRead || connection?.usesTLS == true {
                broker.receive(from: self)
            }
            // An error ends the watch (a reset, with its last words still unread): go on to the end.
            if error != nil, phase != .closed { watcher?.watch(.readable) }
        case .closed: break
        }
    }
}

/// Bytes that a socket did not take yet, from `start` on.
///
/// Holds memory only while there are some.
struct OutboundBuffer {
    private var bytes: [UInt8] = []
    private var start = 0

    var isEmpty: Bool { bytes.isEmpty }
    var count: Int { bytes.count - start }

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

import LeaseCore
import LibUV
import PostgresWire

/// One client, from accept to close. Owns its descriptor.
///
/// An idle one must stay small: no buffer, no names of its own that others share.
final class ClientSession: FileWatcherDelegate {
    let id: ClientID
    let descriptor: Int32
    unowned(unsafe) let broker: Broker
    let connectedAt: Instant
    /// nil over TCP.
    let peer: PeerCredentials?
    let isUnix: Bool

    enum Phase {
        case startup
        case authenticating
        /// Waits for the first server of its pool to say what its parameters are.
        case learning
        /// A session pool: waits for its server before it is logged in.
        case awaitingServer
        case ready
        case console
        /// An error is on its way out; nothing more is read.
        case closing
        case closed
    }

    var phase = Phase.startup
    var watcher: FileWatcher?
    var stream = ClientStream()
    /// Received and not dealt with: a partial message, or what waits for a lease.
    var pending: [UInt8] = []
    var outbound = OutboundBuffer()
    /// The client has not taken `outbound` since then.
    var stalledSince: Instant?

    /// It has sent its last; see `Goodbye`.
    var goodbye: Goodbye?

    var login: ClientLogin?
    var console: ConsoleSession?
    var pool: Pool?
    /// nil over TCP, and where its process is not visible.
    var process: ClientProcess?
    var group: ClientGroup?
    var user = ""
    var database = ""
    var applicationName = ""
    /// From the startup packet, and with what the client set since; each holds a reference.
    var startupProfile = ProfileID.serverDefault
    var profile = ProfileID.serverDefault
    var told: ParameterSet?

    // The key that a CancelRequest names.
    var keyProcessID: Int32 = 0
    var keySecret: Int32 = 0

    // The lease.

    unowned(unsafe) var server: ServerConnection?
    var isWaiting = false
    /// The LEASE statement that waits for its answer.
    var call: LeaseCall?
    /// What it sent is the broker's to answer, once its server owes nothing.
    var awaitsQuiet = false
    /// Its request was refused before it had to wait: the batch in hand is answered with this.
    var refusal: PgError?
    var isQueuedToResume = false
    var isPeerWatched = false
    /// Its process is gone since then; a child may have its socket.
    var orphanedAt: Instant?
    /// A child has spoken since: it is the client now.
    var hasOutlivedItsProcess = false
    /// When it began to wait, or sent its last message.
    var requestedAt: Instant
    var lastActivity: Instant
    /// Since when its program uses the session without a pause (`LeaseRequest.useSince`), and whether
    /// what it does next is a new use.
    var useSince: Instant
    var isUseOver = false
    /// When it let go of its last lease; its login, if it had none.
    var detachedAt: Instant

    init(
        id: ClientID, descriptor: Int32, peer: PeerCredentials?, isUnix: Bool, broker: Broker,
        now: Instant
    ) {
        self.id = id
        self.descriptor = descriptor
        self.peer = peer
        self.isUnix = isUnix
        self.broker = broker
        connectedAt = now
        requestedAt = now
        lastActivity = now
        useSince = now
        detachedAt = now
    }

    var isOpen: Bool { phase != .closed && phase != .closing }

    /// It has not been let in yet.
    var isLoggingIn: Bool {
        switch phase {
        case .startup, .authenticating, .learning, .awaitingServer: true
        case .ready, .console, .closing, .closed: false
        }
    }

    /// Where it came from, as pgbouncer writes it: `unix(pid):0` or `address:port`.
    var origin: String {
        if let peer { return "unix(\(peer.processID)):0" }
        guard let address = SocketAddress(peerOf: descriptor) else { return "" }
        return "\(address.host):\(address.port)"
    }

    /// nil over TCP, and where its process is not visible.
    var processNumber: Int64? {
        guard let peer, peer.processID > 0 else { return nil }
        return Int64(peer.processID)
    }

    /// The name of its uid in this system; nil without one, and over TCP. Asked for once: it may take a
    /// question to a name service.
    private(set) lazy var systemUser = peer.flatMap { Broker.userName(of: $0.userID) }

    /// How texts call it.
    var who: HolderText.Who { processNumber.map { .process($0) } ?? .client("\(id)") }

    /// Its application name, else its program's; empty when there is neither.
    var shownName: String {
        applicationName.isEmpty ? process?.program ?? "" : applicationName
    }

    /// Where it came from, for the console: `unix`, or address and port.
    var address: String {
        guard !isUnix else { return "unix" }
        return origin
    }

    /// Whose leases and waits belong together.
    var ownerKey: OwnerKey {
        OwnerKey(processID: Int32(bitPattern: process?.id.rawValue ?? 0))
    }

    func fileReady(_ events: FileEvents, error: UVError?) {
        if events.mayWrite { broker.flush(self) }
        if phase != .closed, events.mayRead || events.isHungUp { broker.receive(from: self) }
        // An error ends the watch (a reset, with its last words still unread): go on to the end.
        if error != nil, phase != .closed { watcher?.watch(.readable) }
    }
}

/// A group of clients that share caps, for as long as it has members or a line in `[groups]`.
final class ClientGroup {
    let id: GroupID
    let name: String
    var policy: GroupPolicy
    var members = 0
    let times: GroupTimes

    init(id: GroupID, name: String, policy: GroupPolicy, times: GroupTimes) {
        self.id = id
        self.name = name
        self.policy = policy
        self.times = times
    }
}

// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import LeaseCore
import LibPQ
import LibUV
import PostgresWire

/// The socket of a server connection: owns the `PGconn`, and the watcher of its descriptor. What goes on in the
/// session is the engine's to know.
final class ServerConnection: FileWatcherDelegate {
    let id: ServerID
    let pool: DatabasePool
    /// Its owner. Not held: every event of the socket would count it up and down.
    private let owner: Unmanaged<Broker>
    /// What was in the startup packet (session pools), else the server's defaults.
    let startupProfile: ProfileID
    var connection: PostgresConnection? {
        didSet { socket = -1 }
    }
    /// Where bytes are read and written as they are; -1 with TLS, while libpq logs in, and once it is closed.
    private(set) var socket: Int32 = -1
    var watcher: FileWatcher?
    var isClosed = false
    /// libpq has logged in: the bytes are the engine's.
    private(set) var isConnected = false

    /// Of the socket with that number.
    var loginWatch = ServerLoginWatch()
    var loginSocket: UInt64 = 0
    /// What logs in in libpq's place, where there is no password.
    var keyLogin: KeyLogin?
    /// What the server said when it let us in: a session's client is told so, too.
    var loginNotices: [UInt8] = []
    /// How often the rest of a message of its login had not come.
    var loginLooks = 0
    let openedAt: Instant
    /// Which hosts it may lead to, and which one it does.
    var route: ServerRoute?
    /// What it logs in with, if that was read for it; and whether it was read before, for another one.
    var password: ServerPasswords.Known?
    var mayReadPasswordAgain = false
    var host: ServerHost?
    var cancelHandle: CancelHandle?
    /// It was told to end, and its place is counted until it has.
    var farewell: Farewell?

    init(id: ServerID, pool: DatabasePool, broker: Broker, startupProfile: ProfileID, now: Instant)
    {
        self.id = id
        self.pool = pool
        owner = .passUnretained(broker)
        self.startupProfile = startupProfile
        openedAt = now
    }

    /// libpq has logged in.
    func begin() {
        isConnected = true
        if let connection, !connection.usesTLS { socket = connection.descriptor }
    }

    var isConnecting: Bool { !isClosed && !isConnected }

    var broker: Broker { owner.takeUnretainedValue() }

    func fileReady(_ events: FileEvents, error: UVError?) {
        if isConnecting {
            broker.continueConnect(self)
            return
        }
        owner._withUnsafeGuaranteedRef { broker in
            if events.mayWrite { broker.mayWrite(to: self) }
            // With TLS a read may have waited for the socket to become writable.
            if !isClosed, events.mayRead || (socket < 0 && connection?.usesTLS == true) {
                broker.receive(from: self)
            }
        }
        // An error ends the watch (a reset, with its last words still unread): go on to the end.
        if error != nil, !isClosed { watcher?.watch(.readable) }
    }
}

/// What the engine knows of it, for the console, the figures and the log.
extension ServerConnection {
    var lease: LeaseID? { broker.engine.servers[id].leaseID }
    var isLeased: Bool { broker.engine.servers[id].isLeased }
    var client: ClientConnection? {
        broker.engine.servers[id].client.flatMap { broker.clients[$0] }
    }
    var explicit: ExplicitLease? { broker.engine.servers[id].explicit }
    var isDirect: Bool { broker.engine.servers[id].isDirect }
    /// Of one that may be parked: since it was asked back, if it was; its uses before are not known.
    var leaseSince: Instant {
        broker.engine.useSince(id) ?? broker.engine.servers[id].leasedSince ?? .zero
    }
    var leaseWaited: Duration { .nanoseconds(broker.engine.servers[id].lease?.waited ?? 0) }
    var querySince: Instant? { broker.engine.servers[id].clock?.querySince }
    var idleSince: Instant? { broker.engine.servers[id].clock?.idleSince }
    var wasWarnedAbout: Bool { broker.engine.servers[id].lease?.wasWarnedAbout ?? false }
    var bytesInLease: Int { broker.engine.servers[id].lease?.bytes ?? 0 }
    var transactionsInLease: Int { broker.engine.servers[id].lease?.transactions ?? 0 }
    var activity: String { broker.engine.servers[id].activity }
    var activityInWords: String { broker.engine.servers[id].activityInWords }
    var pinReasons: PinReasons { broker.engine.servers[id].pin?.reasons ?? [] }
    var isOwing: Bool { broker.engine.servers[id].stream.isOwing }
    var transactionStatus: TransactionStatus { broker.engine.servers[id].stream.status }
    var preparedCount: Int { broker.engine.servers[id].stream.prepared.count }
    var remainingBytes: Int { broker.engine.servers[id].stream.passing.bytesLeft }
    var receivedBytes: Int { broker.engine.servers[id].carry.count }
    var unsentBytes: Int { broker.engine.servers[id].outbound.count }
    var parameters: ParameterSet { broker.engine.servers[id].profile.parameters }
    var backendProcessID: Int32 { broker.engine.servers[id].facts.backendProcessID }
    var cancelsInFlight: Int { broker.engine.servers[id].facts.cancelsInFlight }
    var wasHandedOut: Bool { broker.engine.servers[id].facts.wasHandedOut }
    var connectedAt: Instant? { broker.engine.servers[id].moments.connectedAt }
    var lastUsed: Instant { broker.engine.servers[id].moments.lastUsed }
    var fatal: PgError? { broker.engine.servers[id].fatal }
}

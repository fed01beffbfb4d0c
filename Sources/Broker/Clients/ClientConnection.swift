// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConsole
import LeaseCore
import LibUV
import PostgresWire

/// The socket of a client, from accept to close, and who it says it is. Owns its descriptor; what it asks for and
/// what it holds is the engine's to know.
///
/// An idle one must stay small: no buffer, no names of its own that others share.
final class ClientConnection: FileWatcherDelegate {
    let id: ClientID
    let descriptor: Int32
    /// Its owner. Not held: every event of the socket would count it up and down.
    private let owner: Unmanaged<Broker>
    /// nil over TCP.
    let peer: PeerCredentials?
    let isUnix: Bool
    /// The broker itself, which asks `auth_query`.
    var isOurs = false
    var isClosed = false
    /// Its end was put off (`ClientEnds`): it is not read meanwhile.
    var endWaits = false
    /// It has said who it is.
    var hasArrived = false
    /// Why it is being refused, where the SQLSTATE does not say it all.
    var refusalCause: RefusalCause?
    /// What it replicates; nil: it is a session.
    var replication: ReplicationKind?
    var watcher: FileWatcher?
    /// Which of all clients it is, from the first that ever came.
    let number: Int
    /// nil over a Unix socket.
    private let remote: Remote?
    /// Received and not dealt with, while the shell speaks with it.
    var unread: [UInt8] = []
    var login: ClientLogin?
    /// nil without TLS.
    var encryption: ClientEncryption?
    private var rare: Rare?
    var pool: DatabasePool?
    /// nil over TCP, and where its process is not visible.
    var process: ClientProcess?
    var group: ClientGroup?
    var user = ""
    var database = ""
    var applicationName = ""

    // The key that a CancelRequest names.
    var keyProcessID: Int32 = 0
    var keySecret: Int32 = 0

    /// Where it came from over TCP; the kernel forgets it when the client is gone.
    private final class Remote {
        let address: IPAddress?
        let port: UInt16

        init(_ descriptor: Int32) {
            let address = SocketAddress(peerOf: descriptor)
            self.address = address.flatMap { IPAddress(parsing: $0.host) }
            port = address?.port ?? 0
        }
    }

    /// What few have: an idle client has no place for it.
    private final class Rare {
        var parking: ParkingPlace?
        var console: ConsoleSession?
        var keyRest: [UInt8] = []
    }

    private func change(_ change: (Rare) -> Void) {
        let rare = self.rare ?? Rare()
        self.rare = rare
        change(rare)
    }

    /// nil: it has never had a lease that may be parked.
    var parking: ParkingPlace? {
        get { rare?.parking }
        set { if rare != nil || newValue != nil { change { $0.parking = newValue } } }
    }

    var console: ConsoleSession? {
        get { rare?.console }
        set { if rare != nil || newValue != nil { change { $0.console = newValue } } }
    }

    /// The secret beyond its first four bytes; none before protocol 3.2.
    var keyRest: [UInt8] {
        get { rare?.keyRest ?? [] }
        set { if rare != nil || !newValue.isEmpty { change { $0.keyRest = newValue } } }
    }

    init(
        id: ClientID, descriptor: Int32, peer: PeerCredentials?, isUnix: Bool, number: Int,
        broker: Broker
    ) {
        self.id = id
        self.descriptor = descriptor
        self.peer = peer
        self.isUnix = isUnix
        self.number = number
        remote = isUnix ? nil : Remote(descriptor)
        owner = .passUnretained(broker)
    }

    /// nil over a Unix socket.
    var networkAddress: IPAddress? { remote?.address }

    /// Where it came from, as pgbouncer writes it: `unix(pid):0` or `address:port`.
    var origin: String {
        if let peer { return "unix(\(peer.processID)):0" }
        guard let networkAddress else { return "" }
        return "\(networkAddress):\(remote?.port ?? 0)"
    }

    /// nil over TCP, and where its process is not visible.
    var processNumber: Int64? {
        guard let peer, peer.processID > 0 else { return nil }
        return Int64(peer.processID)
    }

    /// The name of its uid in this system; nil without one, over TCP, and where nobody needs to know it.
    var systemUser: String?

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

    var broker: Broker { owner.takeUnretainedValue() }

    func fileReady(_ events: FileEvents, error: UVError?) {
        if endWaits {
            watcher?.watch([])
            return
        }
        owner._withUnsafeGuaranteedRef { broker in
            if let encryption {
                broker.ready(events, self, encryption)
                return
            }
            if events.mayWrite { broker.mayWrite(to: self) }
            if !isClosed, events.mayRead || events.isHungUp { broker.receive(from: self) }
        }
        // An error ends the watch (a reset, with its last words still unread): go on to the end.
        if error != nil, !isClosed, !endWaits { watcher?.watch(.readable) }
    }
}

/// What the engine knows of it.
extension ClientConnection {
    var phase: ClientSession.Phase { isClosed ? .closed : broker.engine.clients[id].phase }
    var isOpen: Bool { !isClosed && broker.engine.clients[id].isOpen }
    var isLoggingIn: Bool { !isClosed && broker.engine.clients[id].isLoggingIn }
    var isWaiting: Bool { !isClosed && broker.engine.clients[id].isWaiting }
    var call: LeaseCall? { isClosed ? nil : broker.engine.clients[id].call }
    var server: ServerConnection? {
        isClosed ? nil : broker.engine.clients[id].server.flatMap { broker.servers[$0] }
    }
    var connectedAt: Instant { broker.engine.clients[id].moments.connectedAt }
    var requestedAt: Instant { broker.engine.clients[id].request.since }
    var told: ParameterSet? { broker.engine.clients[id].settings.told }
    var statementCount: Int { broker.engine.clients[id].stream.statements.count }
    var remainingBytes: Int { broker.engine.clients[id].stream.passing.bytesLeft }
    var receivedBytes: Int { unread.count + broker.engine.clients[id].pending.count }
    var unsentBytes: Int { broker.engine.clients[id].outbound.count }
}

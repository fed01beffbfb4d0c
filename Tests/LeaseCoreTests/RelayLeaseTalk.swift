// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LeaseSimulation
import PostgresWire

/// A client that speaks to the relay and to a made-up server behind it, with as much of a shell
/// between them as lease commands need. Everything is answered at once.
struct RelayLeaseTalk {
    var relay: RelayFixture
    var backend = RelayBackend()
    /// The client holds the server, in whatever way.
    private(set) var hasServer: Bool
    /// It holds it by LEASE.
    private(set) var isHeld = false
    private(set) var toServer: [UInt8] = []
    private(set) var toClient: [UInt8] = []
    private(set) var commands: [LeaseCommand] = []
    /// A verdict after which nothing goes on.
    private(set) var ending: String?
    private let poolMode: RelayMode

    init(_ pooling: RelayMode.Pooling = .transaction, prepared: Int = 100) {
        relay = RelayFixture(pooling, prepared: prepared, maxMessageSize: 1 << 20)
        poolMode = relay.mode
        hasServer = pooling == .session
    }

    var server: [String] { RelayTranscript.ofClient(toServer) }
    var client: [String] { RelayTranscript.ofServer(toClient) }

    /// What the client is told about this, and what of it reaches the server.
    mutating func say(_ write: (inout [UInt8]) -> Void) -> [String] {
        toServer = []
        toClient = []
        send(message(write))
        return client
    }

    mutating func send(_ bytes: [UInt8]) {
        var bytes = bytes
        repeat {
            let result =
                hasServer ? relay.send(bytes) : relay.sendWithoutLease { [bytes] in $0 += bytes }
            bytes = []
            toClient += result.toClient
            toServer += result.toServer
            backend.input += result.toServer
            var goesOn = serve()
            switch result.verdict {
            case .more: break
            case .awaitsQuiet:
                if relay.server.isOwing, !goesOn { ending = "it waits for ever" }
            case .needsLease:
                hasServer = true
                relay.server.beginLease()
                goesOn = true
            case .needsDatabase: ending = "it wants a database"
            case .needsSequences: ending = "it asks what its session has drawn"
            case .needsPlace:
                relay.server.pinWish = []
                relay.server.mayPin = true
                goesOn = true
            case .lease(let command, let form):
                carryOut(command, form)
                goesOn = true
            case .awaitsListening: ending = "nobody listens for it"
            case .terminate: ending = "goodbye"
            case .malformed(let error): ending = error.message
            }
            if ending != nil || !goesOn { return }
        } while !relay.pending.isEmpty
    }

    /// The server answers all that it can; true if it said something.
    private mutating func serve() -> Bool {
        while backend.step() {}
        let said = backend.output
        backend.output = []
        if !said.isEmpty { toClient += relay.answerBytes(said).bytes }
        if hasServer, poolMode.pooling != .session, relay.isLeaseOver { hasServer = false }
        return !said.isEmpty
    }

    // MARK: Lease commands

    private mutating func carryOut(_ command: LeaseCommand, _ form: LeaseForm) {
        commands.append(command)
        switch command {
        case .acquire:
            if isHeld {
                fail(.objectNotInPrerequisite, form)
            } else if hasServer, relay.server.status != .idle {
                fail(.activeSqlTransaction, form)
            } else {
                if !hasServer { relay.server.beginLease() }
                hasServer = true
                isHeld = true
                relay.server.hold()
                relay.mode = poolMode.held
                succeed("LEASE", form)
            }
        case .giveBack:
            guard isHeld else {
                fail(.objectNotInPrerequisite, form)
                return
            }
            isHeld = false
            relay.mode = poolMode
            if poolMode.pooling != .session { clean() }
            succeed("LEASE RETURN", form)
        }
    }

    /// The connection is rolled back and cleaned, out of the client's sight.
    private mutating func clean() {
        hasServer = false
        relay.server.releaseAll(in: &relay.statements)
        relay.server = ServerStream()
        backend.input += message {
            if backend.status != .idle { $0.appendQuery("rollback") }
            $0.appendQuery("discard all")
        }
        while backend.step() {}
        backend.output = []
    }

    private mutating func succeed(_ tag: String, _ form: LeaseForm) {
        toClient += message {
            if tag == "LEASE" { $0.appendDataRow(texts: ["1"]) }
            $0.appendCommandComplete(tag)
            if form == .simple { $0.appendReadyForQuery(status) }
        }
    }

    private mutating func fail(_ state: SQLState, _ form: LeaseForm) {
        toClient += message {
            $0.appendErrorResponse(.error(state, "no"))
            if form == .simple { $0.appendReadyForQuery(status) }
        }
        if form != .simple { relay.client.failBatch() }
    }

    private var status: TransactionStatus { hasServer ? relay.server.status : .idle }
}

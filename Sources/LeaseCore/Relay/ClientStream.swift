// SPDX-License-Identifier: Apache-2.0

package import PostgresWire

/// What the relay knows of one client's stream, with or without a lease.
package struct ClientStream: ~Copyable {
    /// The client's message that is on its way.
    package var passing = PassingMessage()
    /// The broker answered an error inside an extended batch: everything up to the Sync is dropped,
    /// as PostgreSQL itself does.
    package var isSkippingToSync = false
    /// Its server died between two messages, with its transaction: the next batch is told.
    package var deferredError: PgError?
    /// Named statements of the extended protocol, in pools where they follow the client.
    package var statements = ByteTable<ClientStatement>()
    /// Body of the last unnamed Parse (text, NUL, types): the statement lives until the next one,
    /// also when the server changes. Empty: none. `StatementMemory` counts it.
    package private(set) var unnamed: [UInt8] = []
    /// `PlainText.isOneStatement` says so of its text.
    var isUnnamedPlain = false
    /// The same, and it calls nothing.
    var isUnnamedSilent = false
    /// Length of an unnamed statement that was too long to be kept: it is lost with its lease.
    package internal(set) var unnamedNotKept = 0
    /// Lease commands that the client prepared by the extended protocol.
    var leases: LeaseStatements?

    /// What it listens to; nil for one that never did.
    var listening: ClientListening?

    /// What is reported of its startup settings: what a RESET goes back to. nil: the server's own.
    package var startupValues: StartupValues?

    package init() {}

    /// The client's batch ends: what was skipped up to here is, and portals are gone.
    mutating func endBatch() {
        isSkippingToSync = false
        if leases != nil { endLeasePortals() }
    }

    /// It may listen from here on.
    mutating func listens() -> ClientListening {
        if let listening { return listening }
        let made = ClientListening()
        listening = made
        return made
    }

    /// A simple query destroys the unnamed statement.
    mutating func endUnnamed(in table: inout StatementTable) {
        forgetUnnamed(in: &table)
        if leases != nil { leases?.statements[[]] = nil }
    }

    /// The unnamed statement is a lease command.
    var hasUnnamedLease: Bool { leases?.statements[[]] != nil }

    private mutating func endLeasePortals() {
        leases?.portals.removeAll()
        if leases?.statements.isEmpty == true { leases = nil }
    }

    /// Lets go of what other tables count. Call once, when the session ends.
    package mutating func releaseAll(in table: inout StatementTable) {
        statements.forEachValue { table.release($0.id) }
        statements.removeAll()
        forgetUnnamed(in: &table)
    }

    /// Keeps the unnamed statement with this body, in place of the one before.
    mutating func keepUnnamed(
        _ body: UnsafeRawBufferPointer, in table: inout StatementTable
    ) {
        unnamedNotKept = 0
        isUnnamedPlain = false
        isUnnamedSilent = false
        table.memory.release(unnamed.count)
        table.memory.take(body.count)
        // The one before may be needed again (`position`), and its room is for the next one, whoever's that is.
        var kept = exchange(&table.spareBody, with: [])
        if kept.capacity > max(Self.unnamedCapacity, 2 * body.count) {
            // A short one must not hold the place of a long one.
            kept = Array(body)
        } else {
            kept.removeAll(keepingCapacity: true)
            kept.append(contentsOf: body)
        }
        table.spareBody = exchange(&unnamed, with: kept)
    }

    mutating func forgetUnnamed(in table: inout StatementTable) {
        unnamedNotKept = 0
        guard !unnamed.isEmpty else { return }
        isUnnamedPlain = false
        isUnnamedSilent = false
        table.memory.release(unnamed.count)
        unnamed = []
    }

    /// This is what it parsed last without a name, and there was nothing to be noted of it.
    @inline(__always)
    func isSilentAgain(_ definition: UnsafeRawBufferPointer) -> Bool {
        isUnnamedSilent && areEqual(unnamed, definition)
    }

    private static let unnamedCapacity = 1024

    /// All names are gone, as after DEALLOCATE ALL and DISCARD ALL.
    mutating func forgetStatements(in table: inout StatementTable) {
        leases = nil
        guard !statements.isEmpty else { return }
        statements.forEachValue { table.release($0.id) }
        statements.removeAll()
    }
}

/// How the relay treats the clients of a pool.
package struct RelayMode: Equatable, Sendable {
    /// `pool_mode`.
    package enum Pooling: Equatable, Sendable {
        case session, transaction, statement
    }

    package var pooling: Pooling
    /// `max_prepared_statements`: how many a server keeps. 0: names pass through untouched.
    package var maxPreparedStatements: Int
    /// `max_packet_size`, bytes.
    package var maxMessageSize: Int
    /// The lease was asked for by LEASE: it ends when the client says so, not with the transaction.
    package var isHeld = false

    package init(pooling: Pooling, maxPreparedStatements: Int, maxMessageSize: Int) {
        self.pooling = pooling
        self.maxPreparedStatements = maxPreparedStatements
        self.maxMessageSize = maxMessageSize
    }

    /// Named statements follow their client from server to server.
    package var tracksStatements: Bool { pooling != .session && maxPreparedStatements > 0 }

    /// How the same pool treats a client that holds an explicit lease.
    package var held: RelayMode {
        var mode = self
        mode.isHeld = true
        if pooling == .statement { mode.pooling = .transaction }
        return mode
    }
}

/// Values of a client's startup settings as the server reports them. Shared by all with the same profile.
package final class StartupValues: Sendable {
    private let values: [(name: String, value: String)]
    /// What is reported where no client has set anything.
    private let base: [(name: String, value: String)]
    /// All of them.
    let entries: [ProfileEntry]
    /// Those that the server itself reports with another value.
    let differing: [(name: String, value: String)]

    package init(
        _ values: [(name: String, value: String)], base: [(name: String, value: String)] = [],
        entries: [ProfileEntry] = []
    ) {
        self.values = values
        self.base = base
        self.entries = entries
        differing = values.filter { own in
            base.contains { $0.name == own.name && $0.value != own.value }
        }
    }

    /// Whether this is what the server reports of the setting where no client has set it.
    func mayBeServersOwn(_ value: String, _ name: String) -> Bool {
        base.isEmpty || base.contains { $0.name == name && $0.value == value }
    }

    func value(of name: String) -> String? { values.first { $0.name == name }?.value }
}

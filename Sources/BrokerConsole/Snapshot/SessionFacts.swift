// SPDX-License-Identifier: Apache-2.0

package import LeaseCore
package import PostgresWire

/// One client's connection.
package struct ClientFacts {
    package let id: ClientID
    package var user = ""
    package var database = ""
    /// What it replicates; nil: it is a session.
    package var replication: ReplicationKind?
    package var applicationName = ""
    package var state = ConsoleClientState.login
    /// It has not been told to go.
    package var isOpen = true
    /// It is logged in, to a pool or to the console.
    package var isServed = false
    package var addresses = ConsoleAddresses()
    package var connectedAt = Instant.zero
    package var requestedAt = Instant.zero
    /// For a server; zero if it does not wait.
    package var waited = Duration.zero
    /// Its pool is closed.
    package var isToBeClosed = false
    package var server: ServerID?
    package var processID: Int32 = 0
    package var tls = ""
    package var statements = 0
    package var buffers = BufferFacts()
    package var descriptor: Int32 = -1
    /// 0 without a server.
    package var serverDescriptor: Int32 = 0
    package var parameters: ParameterSet?

    package init(_ id: ClientID) { self.id = id }
}

/// One server connection.
package struct ServerFacts {
    package let id: ServerID
    package var user = ""
    package var database = ""
    /// What it replicates; nil: it is a session.
    package var replication: ReplicationKind?
    package var state = ConsoleServerState.idle
    package var addresses = ConsoleAddresses()
    package var connectedAt = Instant.zero
    package var requestedAt = Instant.zero
    package var isToBeClosed = false
    package var client: ClientID?
    package var processID: Int32 = 0
    package var tls = ""
    package var statements = 0
    package var buffers = BufferFacts()
    package var descriptor: Int32 = -1
    /// 0 without a client.
    package var clientDescriptor: Int32 = 0
    package var parameters = ParameterSet([])

    package init(_ id: ServerID) { self.id = id }
}

/// What is kept of a connection's bytes.
package struct BufferFacts {
    package var received = 0
    /// Of the message that is passing.
    package var remaining = 0
    package var unsent = 0

    package init() {}

    var isEmpty: Bool { received == 0 && unsent == 0 }
}

/// What the broker keeps bytes in, all connections together.
package struct MemoryFacts {
    package var readBuffer = 0
    package var clientReceived = 0
    package var clientUnsent = 0
    package var serverReceived = 0
    package var serverUnsent = 0

    package init() {}
}

// SPDX-License-Identifier: Apache-2.0

package import LeaseClient
import Synchronization

/// The clients of sources and destinations, one for each address, shared by all jobs.
///
/// They hold no server connections: those are the broker's. A client is made when its address is
/// needed first and lives as long as this does.
package final class DatabaseClients: Sendable {
    private let route: BrokerRoute?
    private let applicationName: String
    private let configuration: LeaseConfiguration
    private let credentials: CredentialCipher?
    private let clients = Mutex<[DatabaseAddress: LeaseClient]>([:])

    /// `applicationName` is the group that the broker counts the leases to; `credentials` opens the
    /// passwords that the rows keep encrypted.
    package init(
        route: BrokerRoute?, applicationName: String, configuration: LeaseConfiguration,
        credentials: CredentialCipher? = nil
    ) {
        self.credentials = credentials
        self.route = route
        self.applicationName = applicationName
        self.configuration = configuration
    }

    /// Throws ``LeaseError/configuration(_:)`` for an address that makes no sense.
    func client(for row: DatabaseAddress) throws -> LeaseClient {
        let address = route?.address(for: row) ?? row
        return try clients.withLock { clients in
            if let client = clients[address] { return client }
            let client = try LeaseClient(
                keywords: [
                    "host": address.host, "port": String(address.port),
                    "dbname": address.database, "user": address.user,
                    "password": password(of: row) ?? "", "application_name": applicationName,
                ], configuration: configuration)
            clients[address] = client
            return client
        }
    }

    /// As it is given to a server.
    func password(of row: DatabaseAddress) -> String? {
        guard let credentials, let stored = row.password else { return row.password }
        return credentials.password(from: stored)
    }

    /// Whether leases of both come from one pool of the broker: the same database under the same
    /// user, whatever the passwords.
    func isOnePool(_ first: DatabaseAddress, _ second: DatabaseAddress) -> Bool {
        var (first, second) = (first, second)
        if let route { (first, second) = (route.address(for: first), route.address(for: second)) }
        second.password = first.password
        return first == second
    }

    package func close() {
        for client in clients.withLock({ Array($0.values) }) { client.close() }
    }

    deinit { close() }
}

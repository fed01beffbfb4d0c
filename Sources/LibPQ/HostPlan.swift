// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Takes name resolution out of libpq's hands, which would stop the thread for it: says which names
/// a set of parameters needs, and puts the addresses in.
///
/// Each attempt of libpq's is for one address, with the name beside it for TLS verification and the password file: which
/// one is next is the broker's to say (`HostWalk`), as it knows which hosts are away, and waits for none for long.
package struct HostPlan: Sendable {
    package struct Lookup: Equatable, Sendable {
        /// Position in libpq's host list.
        package let index: Int
        package let host: String
        package let port: String
    }

    /// Everything that is known about the server, libpq's defaults included.
    package let parameters: ConnectionParameters
    /// The names to resolve; empty when libpq can start as it is.
    package let lookups: [Lookup]
    private let hosts: [String]
    private let ports: [String]

    /// Reads the service file and the environment (see `ConnectionString.withDefaults`): make it
    /// when the configuration is read, not for every connection.
    package init(parameters given: ConnectionParameters) throws(ConnectionStringError) {
        parameters = try ConnectionString.withDefaults(given)
        hosts = HostPlan.entries(parameters.value(of: "host"))
        ports = HostPlan.entries(parameters.value(of: "port"))
        // With hostaddr the addresses are known.
        guard parameters.value(of: "hostaddr") == nil else {
            lookups = []
            return
        }
        let ports = self.ports
        lookups = hosts.enumerated().compactMap { index, host in
            guard HostPlan.needsLookup(host) else { return nil }
            return Lookup(index: index, host: host, port: HostPlan.port(at: index, of: ports))
        }
    }

    /// One address of the list.
    package struct Address: Hashable, Sendable {
        /// Position of its host in the list.
        package let index: Int
        package let host: String
        /// Numeric; empty where the host is one, or a socket.
        package let number: String
        package let port: String
    }

    /// Every address of the list, in its order. `resolved` answers `lookups`, in their order; a name without an
    /// address leaves the list.
    package func addresses(with resolved: [[String]]) -> [Address] {
        precondition(resolved.count == lookups.count, "every look-up wants an answer")
        let numbers = HostPlan.entries(parameters.value(of: "hostaddr"))
        // libpq has seen to it that the lists are of one length.
        let given = parameters.value(of: "hostaddr") == nil ? hosts.count : numbers.count
        let answers = Dictionary(uniqueKeysWithValues: zip(lookups.map(\.index), resolved))
        return (0..<given).flatMap { index in
            let number = index < numbers.count ? numbers[index] : ""
            return (answers[index] ?? [number]).map {
                Address(
                    index: index, host: index < hosts.count ? hosts[index] : "", number: $0,
                    port: HostPlan.port(at: index, of: ports))
            }
        }
    }

    /// The parameters for this address alone, and for a server of this kind (`target_session_attrs`).
    package func parameters(for address: Address, attributes: String?) -> ConnectionParameters {
        var result = parameters.filter { $0.keyword != "target_session_attrs" }
        if let attributes { result.append(("target_session_attrs", attributes)) }
        result.removeAll { ["host", "hostaddr", "port"].contains($0.keyword) }
        if !address.host.isEmpty { result.append(("host", address.host)) }
        if !address.number.isEmpty { result.append(("hostaddr", address.number)) }
        result.append(("port", address.port))
        return result
    }

    /// libpq: paths and abstract names are sockets, and the empty host is the default socket.
    private static func needsLookup(_ host: String) -> Bool {
        if host.isEmpty || host.hasPrefix("/") || host.hasPrefix("@") { return false }
        var address = in6_addr()
        // SAFETY: an in6_addr has room for both families.
        let isNumeric =
            unsafe inet_pton(AF_INET, host, &address) == 1
            || inet_pton(AF_INET6, host, &address) == 1
        return !isNumeric
    }

    private static func entries(_ list: String?) -> [String] {
        (list ?? "").split(separator: ",", omittingEmptySubsequences: false).map(String.init)
    }

    /// One port stands for all hosts; an empty one is the default.
    private static func port(at index: Int, of ports: [String]) -> String {
        let port = ports.count == 1 ? ports[0] : index < ports.count ? ports[index] : ""
        return port.isEmpty ? "5432" : port
    }
}

import Glibc

/// Takes name resolution out of libpq's hands, which would stop the thread for it: says which names
/// a set of parameters needs, and puts the addresses in.
///
/// libpq keeps the rest: every address becomes one entry of its host list, with the name beside it
/// for TLS verification and the password file, so that `target_session_attrs` and the order of the
/// hosts mean what they always do.
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

    /// The parameters with one entry of the host list for every address. `resolved` answers
    /// `lookups`, in their order; a name without an address leaves the list. Nil when none is left.
    package func expanded(with resolved: [[String]]) -> ConnectionParameters? {
        precondition(resolved.count == lookups.count, "every look-up wants an answer")
        if lookups.isEmpty { return parameters }
        let answers = Dictionary(uniqueKeysWithValues: zip(lookups.map(\.index), resolved))
        var names: [String] = []
        var addresses: [String] = []
        var addressPorts: [String] = []
        for (index, host) in hosts.enumerated() {
            for address in answers[index] ?? [""] {
                names.append(host)
                addresses.append(address)
                addressPorts.append(HostPlan.port(at: index, of: ports))
            }
        }
        if names.isEmpty { return nil }
        var result = parameters.filter { !["host", "hostaddr", "port"].contains($0.keyword) }
        result.append(("host", names.joined(separator: ",")))
        result.append(("hostaddr", addresses.joined(separator: ",")))
        result.append(("port", addressPorts.joined(separator: ",")))
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

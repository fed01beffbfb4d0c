// SPDX-License-Identifier: Apache-2.0

/// Where a source or a destination is, as its row in the config database says.
struct DatabaseAddress: Hashable, Sendable {
    var host: String
    var port: Int
    var database: String
    var user: String
    var password: String?
}

/// How the rows' addresses lead to a broker.
///
/// Without an override a row's host and port are used as they are: they name the broker (as for the
/// Python workers, whose rows point at it). With one, every source and destination is reached
/// through the broker there, under the row's own database name and user; where two servers have
/// databases of one name, `databaseNames` says what the broker calls each.
package struct BrokerRoute: Equatable, Sendable {
    /// A folder with the broker's socket, `@name` for an abstract one, or a host.
    package var host: String
    package var port: Int
    /// `host:port/database` of a row to the broker's name for it.
    package var databaseNames: [String: String]

    package init(host: String, port: Int, databaseNames: [String: String] = [:]) {
        self.host = host
        self.port = port
        self.databaseNames = databaseNames
    }

    /// Reads `/run/pglease:6432`, `@pglease:6432`, `localhost`; the port is 6432 unless given. Nil
    /// when it is no such address.
    package init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":") else {
            if text.isEmpty { return nil }
            self.init(host: text, port: 6432)
            return
        }
        guard let port = UInt16(text[text.index(after: colon)...]), colon != text.startIndex else {
            return nil
        }
        self.init(host: String(text[..<colon]), port: Int(port))
    }

    func address(for row: DatabaseAddress) -> DatabaseAddress {
        var address = row
        address.host = host
        address.port = port
        address.database =
            databaseNames["\(row.host):\(row.port)/\(row.database)"] ?? row.database
        return address
    }
}

// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What libpq is given to open a server connection.
extension Configuration {
    /// libpq keywords for one connection of `entry`. A keyword of the database's own line stands
    /// before what follows from the settings. `database` is nil where a service file names it.
    package func connectionParameters(
        for entry: DatabaseEntry, database: String?, user: String, password: Secret?
    ) -> [ServerParameter] {
        var parameters = entry.serverParameters
        func isSet(_ keyword: String) -> Bool { parameters.contains { $0.keyword == keyword } }
        for parameter in settings.serverParameters where !isSet(parameter.keyword) {
            parameters.append(parameter)
        }
        if let database { parameters.append(ServerParameter("dbname", database)) }
        parameters.append(ServerParameter("user", user))
        if let password { parameters.append(ServerParameter("password", password.value)) }
        // The relay reads the socket itself, which GSSAPI encryption would not allow.
        parameters.append(ServerParameter("gssencmode", "disable"))
        return parameters
    }
}

extension Settings {
    /// The `server_tls_*` and `tcp_*` settings as libpq's keywords.
    ///
    /// What equals libpq's own default is left out: a keyword that is given would hide the one of
    /// a service file, and `PGSSLMODE`.
    var serverParameters: [ServerParameter] {
        var parameters: [ServerParameter] = []
        func append(_ keyword: String, _ value: String?) {
            if let value { parameters.append(ServerParameter(keyword, value)) }
        }
        append("sslmode", serverTlsSslmode == .prefer ? nil : serverTlsSslmode.rawValue)
        append("sslrootcert", serverTlsCaFile)
        append("sslkey", serverTlsKeyFile)
        append("sslcert", serverTlsCertFile)
        let minimum = serverTlsProtocols.minimum
        append("ssl_min_protocol_version", minimum == TLSProtocols.secure.minimum ? nil : minimum)
        append("ssl_max_protocol_version", serverTlsProtocols.maximum)
        append("keepalives", tcpKeepalive ? nil : "0")
        append("keepalives_idle", tcpKeepidle.map { "\($0)" })
        append("keepalives_interval", tcpKeepintvl.map { "\($0)" })
        append("keepalives_count", tcpKeepcnt.map { "\($0)" })
        append("tcp_user_timeout", tcpUserTimeout.map { DurationText.render($0, in: .millisecond) })
        return parameters
    }
}

// SPDX-License-Identifier: Apache-2.0

/// The settings of the `[pglease]` or `[pgbouncer]` section.
///
/// A property is named as its setting, in camel case; its initial value is pglease's default. What
/// each means stands in `SettingDescription`, the one table from which they are read, shown and
/// documented. A duration or limit whose 0 means "off" is nil when it is off.
package struct Settings: Equatable, Sendable {
    // Where clients come in.

    package var listenAddr: [String] = []
    package var listenPort = 6432
    /// nil: no Unix socket. "" only before `Configuration.load` has chosen a folder.
    package var unixSocketDir: String? = ""
    package var unixSocketMode = 0o777
    /// nil: the group of the process.
    package var unixSocketGroup: String?
    package var soReuseport = false
    /// 0: it has no peers.
    package var peerId = 0
    package var listenBacklog = 1024

    // Who may come in.

    package var authType = AuthType.peer
    package var authFile: String?
    /// nil: `auth_query` is not run, unless a database's line names a user for it.
    package var authUser: String?
    /// nil: secrets are never asked for.
    package var authQuery: String? = Settings.usualAuthQuery
    /// nil: the database that the client asks for.
    package var authDbname: String?
    package var authHbaFile: String?
    package var authIdentFile: String?
    /// They may hold a password.
    package var authLdapOptions: Secret?
    package var peerMap: [PeerMapping] = []
    package var adminUsers: [String] = []
    package var statsUsers: [String] = []

    // Encryption towards clients.

    package var clientTlsSslmode = TLSMode.disable
    package var clientTlsKeyFile: String?
    package var clientTlsCertFile: String?
    package var clientTlsCaFile: String?
    package var clientTlsProtocols = TLSProtocols.secure
    package var clientTlsCiphers = "default"
    /// nil: OpenSSL's own choice.
    package var clientTls13Ciphers: String?
    package var clientTlsDheparams = DiffieHellmanParameters.auto
    /// "auto", "none", or what OpenSSL calls it.
    package var clientTlsEcdhcurve = "auto"

    // Sizes.

    package var poolMode = PoolMode.transaction
    package var maxClientConn = 1000
    package var defaultPoolSize = 10
    package var minPoolSize = 0
    package var reservePoolSize = 3
    /// nil: the reserve is lent to pool locks only.
    package var reservePoolTimeout: Duration?
    package var maxServerConnections: Int?
    package var sharedBound: String?
    package var sharedBoundDbname: String?
    package var sharedBoundUser: String?
    package var sharedWeight = 1
    package var maxDbConnections: Int?
    package var maxUserConnections: Int?
    package var maxDbClientConnections: Int?
    package var maxUserClientConnections: Int?
    package var maxWaiting: Int?
    package var maxPreparedStatements = 200

    // Deadlines of clients and leases.

    package var queryWaitTimeout: Duration? = .seconds(30)
    package var queryWaitNotify: Duration? = .seconds(5)
    package var queryTimeout: Duration?
    package var idleTransactionTimeout: Duration?
    package var transactionTimeout: Duration?
    package var leaseTimeout: Duration?
    package var leaseWarnAfter: Duration? = .seconds(30)
    package var clientLoginTimeout: Duration? = .seconds(10)
    package var clientIdleTimeout: Duration?
    package var clientWriteTimeout: Duration? = .seconds(300)
    package var clientGone = ClientGone.finish
    package var directLease = DirectLease.sameUID
    package var parkTimeout: Duration? = .seconds(10)

    // What sessions hold.

    package var sessionState = SessionState.keep
    package var isolation = PoolIsolation.tracked
    package var pinNotice = true
    package var pinTimeout: Duration?
    package var pinReserve = 1

    // Connections to the server.

    package var connectParallelism = 4
    package var serverConnectTimeout: Duration? = .seconds(15)
    package var scramIterationsMax = 1_000_000
    package var serverLoginRetryMin: Duration = .milliseconds(200)
    package var serverLoginRetry: Duration = .seconds(15)
    /// nil: passwords for the server come from elsewhere.
    package var passwordCommand: String?
    package var passwordFile: String?
    package var passwordTtl: Duration = .seconds(60)
    /// nil: names are looked up for new connections only.
    package var dnsMaxTtl: Duration? = .seconds(15)
    package var serverLifetime: Duration? = .seconds(3600)
    package var serverIdleTimeout: Duration? = .seconds(600)
    package var poolIdleTimeout: Duration?
    package var autodbIdleTimeout: Duration? = .seconds(3600)
    /// Zero: checked before every grant.
    package var serverCheckDelay: Duration = .seconds(30)
    /// nil: never checked; "": the empty query.
    package var serverCheckQuery: String? = ""
    /// nil: nothing is run.
    package var serverResetQuery: String? = "DISCARD ALL"
    package var serverResetQueryAlways = false
    package var serverFastClose = false
    package var serverRoundRobin = false

    // Encryption towards the server.

    package var serverTlsSslmode = TLSMode.prefer
    package var serverTlsCaFile: String?
    package var serverTlsKeyFile: String?
    package var serverTlsCertFile: String?
    package var serverTlsProtocols = TLSProtocols.secure

    // Start and end.

    package var prewarm = true
    package var startupAttempts = 5
    package var startupDelay: Duration = .seconds(2)
    package var startupFactor = 1.5
    package var startupMaxDelay: Duration = .seconds(10)
    /// nil: until the last client has left.
    package var shutdownGrace: Duration? = .seconds(25)
    /// nil: nobody is sent away.
    package var drainIdleClients: Duration? = .seconds(5)
    package var suspendTimeout: Duration = .seconds(10)
    /// nil: the XDG state folder.
    package var stateDir: String?

    // Protocol.

    package var ignoreStartupParameters: [String] = []
    package var trackExtraParameters: [String] = ["IntervalStyle"]
    package var applicationNameAddHost = false
    /// nil: no NOTICE.
    package var loginNotifyMessage: String?
    package var maxPacketSize = 2_147_483_647
    package var maxStatementMemory = 268_435_456

    // Log.

    package var logConnections = true
    package var logDisconnections = true
    package var logPoolerErrors = true
    package var logStats = true
    /// nil: nothing is logged, and averages are those of a minute.
    package var statsPeriod: Duration? = .seconds(60)
    package var verbose = 0
    package var logFormat = LogFormat.text
    package var logLevel = LogLevel.info

    // Where the log goes besides standard error.

    package var logfile: String?
    package var syslog = false
    package var syslogIdent = "pglease"
    package var syslogFacility = SyslogFacility.daemon

    // The process.

    /// nil: none is written.
    package var pidfile: String?
    /// nil: the user that started it.
    package var user: String?

    // Monitoring.

    /// nil: no HTTP.
    package var metricsListen: MetricsAddress?

    // Network.

    /// Packets per connection and turn of the loop; nil: no bound.
    package var sbufLoopcnt: Int? = 5
    package var tcpKeepalive = true
    /// Seconds; nil: as the system is set.
    package var tcpKeepidle: Int? = 30
    package var tcpKeepintvl: Int? = 10
    package var tcpKeepcnt: Int? = 3
    package var tcpSocketBuffer: Int?
    /// Seconds; nil: a client is accepted before it says anything.
    package var tcpDeferAccept: Int?
    package var tcpUserTimeout: Duration? = .seconds(30)

    /// pgbouncer's, with every name in its schema.
    package static let usualAuthQuery =
        "SELECT rolname, CASE WHEN rolvaliduntil OPERATOR(pg_catalog.<) pg_catalog.now() THEN NULL "
        + "ELSE rolpassword END FROM pg_catalog.pg_authid "
        + "WHERE rolname OPERATOR(pg_catalog.=) $1 AND rolcanlogin"

    package init() {}

    /// The settings that a file of this flavour starts from.
    package init(flavour: ConfigurationFlavour) {
        guard flavour == .pgbouncer else { return }
        for description in Settings.all {
            guard let text = description.pgbouncerDefaultText else { continue }
            do throws(SettingValueError) {
                try description.assign(text, &self)
            } catch {
                preconditionFailure(
                    "\(description.name): bad default in the table: \(error.reason)")
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// One key of a line of `[databases]`, `[users]` or `[groups]`: how it is read into the entry and
/// shown from it. The counterpart of `SettingDescription` for lines.
struct EntryKey<Entry: Sendable>: Sendable {
    let name: String
    /// Spellings of older versions of pgbouncer.
    let aliases: [String]
    let isSecret: Bool
    let assign: @Sendable (String, inout Entry) throws(SettingValueError) -> Void
    /// nil: the line does not say anything about this key.
    let text: @Sendable (Entry) -> String?

    init<Value: Equatable & Sendable>(
        _ name: String,
        _ property: any WritableKeyPath<Entry, Override<Value>> & Sendable,
        _ syntax: ValueSyntax<Value>,
        aliases: [String] = []
    ) {
        self.name = name
        self.aliases = aliases
        self.isSecret = false
        // pgbouncer's word for "as in the main section".
        self.assign = { text, entry throws(SettingValueError) in
            entry[keyPath: property] = text == "-1" ? .inherited : .value(try syntax.parse(text))
        }
        self.text = { entry in
            switch entry[keyPath: property] {
            case .inherited: nil
            case .value(let value): syntax.render(value)
            }
        }
    }

    init<Value: Sendable>(
        plain name: String,
        _ property: any WritableKeyPath<Entry, Value> & Sendable,
        _ syntax: ValueSyntax<Value>,
        isSecret: Bool = false
    ) {
        self.name = name
        self.aliases = []
        self.isSecret = isSecret
        self.assign = { text, entry throws(SettingValueError) in
            entry[keyPath: property] = try syntax.parse(text)
        }
        self.text = { entry in
            let text = syntax.render(entry[keyPath: property])
            return text.isEmpty ? nil : text
        }
    }
}

extension EntryKey where Entry == DatabaseEntry {
    static let all: [EntryKey] = [
        EntryKey(plain: "dbname", \.databaseName, .optionalText),
        EntryKey(plain: "user", \.forcedUser, .optionalText),
        EntryKey(plain: "password", \.password, .secret, isSecret: true),
        EntryKey(plain: "connect_query", \.connectQuery, .optionalText, isSecret: true),
        EntryKey(plain: "auth_user", \.authUser, .optionalText),
        EntryKey(plain: "auth_dbname", \.authDbname, .optionalText),
        EntryKey(plain: "auth_query", \.authQuery, .optionalText),
        EntryKey("pool_size", \.poolSize, .integer(0...100_000)),
        EntryKey("min_pool_size", \.minPoolSize, .integer(0...100_000)),
        EntryKey(
            "reserve_pool_size", \.reservePoolSize, .integer(0...100_000),
            aliases: ["reserve_pool"]),
        EntryKey("pool_mode", \.poolMode, .choice),
        EntryKey("max_db_connections", \.maxDbConnections, .limit(upTo: 100_000)),
        EntryKey(plain: "shared_bound", \.sharedBound, .optionalText),
        EntryKey(plain: "shared_bound_dbname", \.sharedBoundDbname, .optionalText),
        EntryKey(plain: "shared_bound_user", \.sharedBoundUser, .optionalText),
        EntryKey("max_db_client_connections", \.maxDbClientConnections, .limit(upTo: 1_000_000)),
        EntryKey("server_lifetime", \.serverLifetime, .optionalDuration),
        EntryKey("query_wait_timeout", \.queryWaitTimeout, .optionalDuration),
        EntryKey("session_state", \.sessionState, .choice),
        EntryKey("isolation", \.isolation, .choice),
        EntryKey("pin_timeout", \.pinTimeout, .optionalDuration),
        EntryKey("pin_reserve", \.pinReserve, .integer(0...100_000)),
        EntryKey("load_balance_hosts", \.loadBalanceHosts, .choice),
        EntryKey(plain: "password_command", \.passwordCommand, .optionalText),
        EntryKey(plain: "password_file", \.passwordFile, .optionalText),
        EntryKey("password_ttl", \.passwordTtl, .duration),
    ]
}

extension EntryKey where Entry == UserEntry {
    static let all: [EntryKey] = [
        EntryKey("pool_size", \.poolSize, .integer(0...100_000)),
        EntryKey("reserve_pool_size", \.reservePoolSize, .integer(0...100_000)),
        EntryKey("pool_mode", \.poolMode, .choice),
        EntryKey("max_user_connections", \.maxUserConnections, .limit(upTo: 100_000)),
        EntryKey(
            "max_user_client_connections", \.maxUserClientConnections, .limit(upTo: 1_000_000)),
        EntryKey("query_timeout", \.queryTimeout, .optionalDuration),
        EntryKey("query_wait_timeout", \.queryWaitTimeout, .optionalDuration),
        EntryKey("idle_transaction_timeout", \.idleTransactionTimeout, .optionalDuration),
        EntryKey("transaction_timeout", \.transactionTimeout, .optionalDuration),
        EntryKey("client_idle_timeout", \.clientIdleTimeout, .optionalDuration),
        EntryKey("session_state", \.sessionState, .choice),
        EntryKey("isolation", \.isolation, .choice),
        EntryKey("pin_timeout", \.pinTimeout, .optionalDuration),
        EntryKey("pin_reserve", \.pinReserve, .integer(0...100_000)),
        EntryKey(plain: "password_command", \.passwordCommand, .optionalText),
        EntryKey(plain: "password_file", \.passwordFile, .optionalText),
        EntryKey("password_ttl", \.passwordTtl, .duration),
    ]
}

extension EntryKey where Entry == PeerEntry {
    static let all: [EntryKey] = [
        EntryKey(plain: "host", \.host, .optionalText),
        EntryKey(plain: "port", \.port, .integer(1...65535)),
        EntryKey("pool_size", \.poolSize, .integer(0...100_000)),
    ]
}

extension EntryKey where Entry == GroupEntry {
    static let all: [EntryKey] = [
        EntryKey(plain: "match", \.match, .glob),
        EntryKey(plain: "database", \.database, .optionalText),
        EntryKey(plain: "weight", \.weight, .integer(1...1000)),
        EntryKey(plain: "min_leases", \.minLeases, .integer(0...100_000)),
        EntryKey(plain: "max_leases", \.maxLeases, .limit(upTo: 100_000)),
        EntryKey(plain: "max_pins", \.maxPins, .limit(upTo: 100_000)),
    ]
}

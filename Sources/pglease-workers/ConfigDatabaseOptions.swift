// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import LeaseClient
import Workers

/// Where the config database is: what all subcommands share.
struct ConfigDatabaseOptions: ParsableArguments {
    @Option(
        name: .long,
        help: ArgumentHelp(
            "The config database, through the broker.",
            discussion: """
                A libpq string or URL. Without it DATABASE_URL, then ROSETTA_DB_HOST, _PORT, _NAME, \
                _USER and _PASSWORD (encrypted where CREDENTIAL_ENCRYPTION_KEY says how, as in the \
                tables), then PG…. Everyone on the host can read the command line: \
                leave passwords to the environment or a passfile.
                """,
            valueName: "url"))
    var databaseURL: String?

    /// A client that shows up as `applicationName` at the broker, unless PGAPPNAME or the address
    /// has another name: the group that its leases count to.
    func makeClient(applicationName: String) throws -> LeaseClient {
        setenv("PGAPPNAME", applicationName, 0)
        if let databaseURL { return try LeaseClient(databaseURL) }
        if WorkersEnvironment.value("DATABASE_URL") == nil,
            let host = WorkersEnvironment.value("ROSETTA_DB_HOST")
        {
            let stored = WorkersEnvironment.value("ROSETTA_DB_PASSWORD") ?? ""
            return try LeaseClient(keywords: [
                "host": host,
                "port": WorkersEnvironment.value("ROSETTA_DB_PORT") ?? "6432",
                "dbname": WorkersEnvironment.value("ROSETTA_DB_NAME") ?? "rosetta",
                "user": WorkersEnvironment.value("ROSETTA_DB_USER") ?? "postgres",
                "password": try Credentials.cipher()?.password(from: stored) ?? stored,
            ])
        }
        return try LeaseClient()
    }
}

/// What opens encrypted passwords.
enum Credentials {
    /// Nil without CREDENTIAL_ENCRYPTION_KEY: passwords are used as they are. Throws
    /// ``CredentialKeyError``.
    static func cipher() throws(CredentialKeyError) -> CredentialCipher? {
        guard let key = WorkersEnvironment.value("CREDENTIAL_ENCRYPTION_KEY") else { return nil }
        return try CredentialCipher(key: key)
    }
}

/// Variables of the environment; an empty one is as good as none.
enum WorkersEnvironment {
    static func value(_ name: String) -> String? {
        guard let text = getenv(name) else { return nil }
        let value = String(cString: text)
        return value.isEmpty ? nil : value
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Where a server password comes from that may be another one tomorrow.
package enum PasswordOrigin: Hashable, Sendable {
    /// Text for /bin/sh.
    case command(String)
    case file(String)

    /// What it is called in the configuration.
    package var name: String {
        switch self {
        case .command: "password_command"
        case .file: "password_file"
        }
    }

    init?(command: String?, file: String?) {
        if let command {
            self = .command(command)
        } else if let file {
            self = .file(file)
        } else {
            return nil
        }
    }
}

extension Configuration {
    /// Where the password of this role is read for servers of this database, and how long it is good: the role's own
    /// line comes first, then the database's, then the general settings. nil: it is not read.
    package func passwordOrigin(
        database: DatabaseEntry, user name: String
    ) -> (origin: PasswordOrigin, ttl: Duration)? {
        let user = user(named: name)
        // What a database's line says is for its own user, and not for who asks auth_query there.
        let isOwn = database.forcedUser == nil || database.forcedUser == name
        let ttl = (user?.passwordTtl ?? .inherited).or(isOwn ? database.passwordTtl : .inherited)
            .over(settings.passwordTtl)
        if let user,
            let origin = PasswordOrigin(command: user.passwordCommand, file: user.passwordFile)
        {
            return (origin, ttl)
        }
        if isOwn {
            let origin = PasswordOrigin(
                command: database.passwordCommand, file: database.passwordFile)
            if let origin { return (origin, ttl) }
            if database.password != nil { return nil }
        }
        return PasswordOrigin(command: settings.passwordCommand, file: settings.passwordFile)
            .map { ($0, ttl) }
    }
}

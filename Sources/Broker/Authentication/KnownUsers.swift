// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import LibPQ
import LibUV
import Logging

/// The users of `auth_file`, and what follows from their secrets.
///
/// Invariant: what was derived or learned belongs to the secret that the list has now.
struct KnownUsers {
    /// nil: there is no `auth_file`.
    let list: UserList?
    /// Stands for users that do not exist.
    let unknown: UnknownUsers
    /// SCRAM secrets of those whose password is listed.
    private var derived: [String: (password: [UInt8], secret: ScramSecret)] = [:]
    private var underived: [String] = []
    /// Of those who have logged in by SCRAM.
    private var keys: [String: ScramKeys] = [:]

    /// `key` is a random value of this process.
    init(_ list: UserList?, key: [UInt8], before: KnownUsers? = nil) {
        self.list = list
        unknown = UnknownUsers(key: key, like: list, arithmetic: OpenSSLArithmetic())
        for user in list?.users ?? [] {
            switch list?.secret(for: user) {
            case .plain(let password)? where !password.isEmpty:
                if let old = before?.derived[user], old.password == password {
                    derived[user] = old
                } else {
                    underived.append(user)
                }
            case .scram(let secret)?:
                if let old = before?.keys[user], old.secret == secret { keys[user] = old }
            case .plain, .md5, nil: break
            }
        }
    }

    // MARK: Derived secrets

    /// Every listed password has its SCRAM secret.
    var isDerived: Bool { underived.isEmpty }

    /// nil: not yet.
    func derivedSecret(of user: String) -> ScramSecret? { derived[user]?.secret }

    /// Passwords for which the secrets are still to be derived: a few at once.
    func nextToDerive(_ count: Int) -> [(user: String, password: [UInt8])] {
        underived.suffix(count).compactMap { user in
            guard case .plain(let password)? = list?.secret(for: user) else { return nil }
            return (user, password)
        }
    }

    mutating func derived(_ secrets: [(user: String, password: [UInt8], secret: ScramSecret)]) {
        for one in secrets where list?.secret(for: one.user) == .plain(one.password) {
            derived[one.user] = (one.password, one.secret)
        }
        let done = Set(secrets.map(\.user))
        underived.removeAll { done.contains($0) && derived[$0] != nil }
    }

    // MARK: What servers may be given

    /// True when it was not known before.
    mutating func learn(_ learned: ScramKeys, of user: String) -> Bool {
        guard list?.secret(for: user) == .scram(learned.secret), keys[user] != learned else {
            return false
        }
        keys[user] = learned
        return true
    }

    /// What of a listed secret that is no password lets the broker log in as this role.
    func hashedSecret(of user: String) -> HashedSecret? {
        switch list?.secret(for: user) {
        case .scram?: keys[user].map { .keys($0) }
        case .md5(let hash)?: .md5(hash)
        case .plain?, nil: nil
        }
    }
}

extension Broker {
    /// Derives the secrets of the listed passwords on a worker thread, some at a time: thousands of rounds of
    /// hashing for each.
    func deriveSecrets() {
        guard !jobs.proofsOfClients.isDeriving, !life.isStopped else { return }
        let batch = configured.users.nextToDerive(Self.derivedAtOnce)
        guard !batch.isEmpty else { return }
        let unknown = configured.users.unknown
        let work: @Sendable () -> [(user: String, password: [UInt8], secret: ScramSecret)] = {
            batch.map { ($0.user, $0.password, unknown.derive($0.password, for: $0.user)) }
        }
        do throws(UVError) {
            try loop.submit(work) { [weak self] secrets in
                guard let self else { return }
                self.jobs.proofsOfClients.isDeriving = false
                self.configured.users.derived(secrets)
                self.deriveSecrets()
            }
            jobs.proofsOfClients.isDeriving = true
        } catch {
            logger.warning(
                "secrets of listed passwords are derived at each login",
                metadata: ["reason": "\(error)"])
        }
    }

    private static let derivedAtOnce = 32
}

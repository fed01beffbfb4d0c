// SPDX-License-Identifier: Apache-2.0

import BrokerAuthentication
import BrokerConfiguration
import LeaseCore
import LibPQ
import LibSSL
import Logging
import PostgresWire

/// What a proof by SCRAM is checked against.
enum ScramTarget {
    case secret(ScramSecret)
    /// A password whose secret is derived for it.
    case password([UInt8])
    /// There is no such user, or no such proof: it is wrong in any case.
    case nobody(ScramSecret, derives: Bool)
}

/// Asking for a password, in one of three ways, and checking the answer.
///
/// A user that does not exist is asked like one that does, and the answer is worked on for as long: by the form of
/// its secret (`UnknownUsers`).
extension Broker {
    func askForPassword(_ client: ClientConnection, _ method: AuthenticationMethod) {
        findSecret(of: client) { broker, client, secret in
            switch secret {
            case .found(let stored): broker.challenge(client, method, stored.isEmpty ? nil : stored)
            case .nobody: broker.challenge(client, method, nil)
            case .failed(let error): broker.fail(client, error)
            }
        }
    }

    private func challenge(
        _ client: ClientConnection, _ method: AuthenticationMethod, _ secret: StoredSecret?
    ) {
        guard let login = client.login else { return }
        // Worked out for each user: it takes some time.
        let strangersForm = configured.users.unknown.form(
            of: client.user, recent: jobs.queries.recentForm)
        let form = secret?.form ?? strangersForm
        var bytes: [UInt8] = []
        switch (method, form) {
        case (.plain, _):
            let strangers = nobodysSecret(client.user, form)
            login.exchange = .awaitsPassword(secret ?? strangers)
            bytes.appendAuthenticationCleartextPassword()
        case (.md5, .plain), (.md5, .md5):
            let salt = OpenSSLArithmetic().randomBytes(4)
            login.exchange = .awaitsMD5(salt: salt, secret)
            bytes.appendAuthenticationMD5Password(salt: salt.reduce(0) { $0 << 8 | UInt32($1) })
        default:
            let (server, target) = scram(client, secret, form)
            login.exchange = .awaitsMechanism(server, target)
            bytes.appendAuthenticationSASL(mechanisms: server.mechanisms)
        }
        send(bytes, to: client)
    }

    /// A secret that nobody has, and that takes as long to check.
    private func nobodysSecret(_ user: String, _ form: SecretForm) -> StoredSecret {
        switch form {
        case .plain: return .plain(OpenSSLArithmetic().randomBytes(16))
        case .md5: return .md5("md5" + String(repeating: "x", count: 32))
        case .scram(let iterations, let saltLength):
            return .scram(
                configured.users.unknown.secret(
                    of: user, iterations: iterations, saltLength: saltLength))
        }
    }

    // MARK: SCRAM-SHA-256

    private func scram(
        _ client: ClientConnection, _ secret: StoredSecret?, _ form: SecretForm
    ) -> (ScramServer, ScramTarget) {
        let unknown = configured.users.unknown
        let target: ScramTarget
        let shown: ScramSecret
        switch secret {
        case .scram(let stored)?:
            // As much work as for a stranger.
            _ = unknown.secret(
                of: client.user, iterations: stored.iterations, saltLength: stored.salt.count)
            shown = stored
            target = .secret(stored)
        case .plain(let password)?:
            shown = unknown.secret(of: client.user)
            if !derivesAnew, client.login?.isFromQuery != true,
                let derived = configured.users.derivedSecret(of: client.user)
            {
                target = .secret(derived)
            } else {
                target = .password(password)
            }
        case .md5?, nil:
            if secret != nil { warnOfMD5(client.user) }
            if case .scram(let iterations, let saltLength) = form {
                shown = unknown.secret(
                    of: client.user, iterations: iterations, saltLength: saltLength)
            } else {
                shown = unknown.secret(of: client.user)
            }
            target = .nobody(shown, derives: form == .plain && derivesAnew)
        }
        let nonce = base64Encode(OpenSSLArithmetic().randomBytes(18))
        var server = ScramServer(salt: shown.salt, iterations: shown.iterations, nonce: nonce)
        server.endPoint = client.encryption?.stream.serverEndPoint
        return (server, target)
    }

    /// The secret of a password is derived at each proof: some listed one is not derived yet, or `auth_query`
    /// gives passwords.
    private var derivesAnew: Bool {
        !configured.users.isDerived || jobs.queries.recentForm == .plain
    }

    private func warnOfMD5(_ user: String) {
        logger.warning(
            "the secret of a user is an MD5 hash, which SCRAM-SHA-256 cannot use",
            metadata: [
                "user": "\(user)",
                "hint": "Say auth_type = md5, or keep the SCRAM secret or the password itself.",
            ])
    }

    private func check(_ proof: ScramProof, _ target: ScramTarget, _ client: ClientConnection) {
        let arithmetic = OpenSSLArithmetic()
        let unknown = configured.users.unknown
        let user = client.user
        switch target {
        case .secret(let secret), .nobody(let secret, derives: false):
            proven(client, proof.check(against: secret, arithmetic: arithmetic))
        case .nobody(let secret, derives: true):
            workOut(for: client) {
                _ = unknown.derive([], for: user)
                return proof.check(against: secret, arithmetic: arithmetic)
            } then: {
                $0.proven($1, $2)
            }
        case .password(let password):
            workOut(for: client) {
                proof.check(
                    against: unknown.derive(password, for: user), arithmetic: arithmetic)
            } then: { broker, client, result in
                if result != nil { client.login?.learned = .password(Secret(bytes: password)) }
                broker.proven(client, result)
            }
        }
    }

    private func proven(
        _ client: ClientConnection, _ result: (answer: String, keys: ScramKeys)?
    ) {
        guard let result else {
            fail(client, ScramError.wrongProof.pgError(user: client.user))
            return
        }
        if client.login?.learned == nil { client.login?.learned = .hashed(.keys(result.keys)) }
        var bytes: [UInt8] = []
        bytes.appendAuthenticationSASLFinal(result.answer)
        send(bytes, to: client)
        authenticated(client)
    }

    // MARK: Messages

    /// A password message. Returns how many bytes are dealt with.
    func password(_ bytes: UnsafeRawBufferPointer, _ client: ClientConnection) -> Int {
        guard bytes.count >= MessageHeader.size, let login = client.login else { return 0 }
        if case .awaitsUs = login.exchange { return 0 }
        let header = MessageHeader(bytes, at: 0)
        guard FrontendKind(rawValue: header.kind) == .password else {
            if FrontendKind(rawValue: header.kind) == .terminate {
                close(client, because: "client said goodbye during login")
            } else {
                counters.protocolErrors += 1
                refuse(client, .fatal(.protocolViolation, "expected a password message"))
            }
            return bytes.count
        }
        guard (0...Self.longestPasswordMessage).contains(header.bodyLength) else {
            counters.protocolErrors += 1
            refuse(client, .fatal(.protocolViolation, "invalid password message length"))
            return bytes.count
        }
        let length = MessageHeader.size + header.bodyLength
        guard bytes.count >= length else { return 0 }
        proof(UnsafeRawBufferPointer(rebasing: bytes[MessageHeader.size..<length]), client, login)
        return length
    }

    /// The longest password, and its NUL.
    private static let longestPasswordMessage = UserList.longestSecret + 1

    private func proof(
        _ body: UnsafeRawBufferPointer, _ client: ClientConnection, _ login: ClientLogin
    ) {
        let exchange = login.exchange
        login.exchange = .none
        do throws(ScramError) {
            switch exchange {
            case .none, .awaitsUs: throw .outOfOrder
            case .awaitsMechanism(var server, let target):
                guard let first = SASLInitialResponse(body: body), let data = first.data,
                    server.mechanisms.contains(first.mechanism)
                else {
                    refuse(
                        client,
                        .fatal(.protocolViolation, "client selected an invalid SASL mechanism"))
                    return
                }
                let answer = try server.handleFirst(data, by: first.mechanism)
                login.exchange = .awaitsProof(server, target)
                var bytes: [UInt8] = []
                bytes.appendAuthenticationSASLContinue(answer)
                send(bytes, to: client)
            case .awaitsProof(var server, let target):
                check(try server.handleFinal(Array(body)), target, client)
            case .awaitsMD5(let salt, let secret):
                guard let answer = text(of: body, client) else { return }
                check(md5: answer, salt, secret, client)
            case .awaitsPasswordForPAM(let service):
                guard let password = text(of: body, client) else { return }
                askPAM(password, client, service)
            case .awaitsPasswordForLDAP(let directory):
                guard let password = text(of: body, client) else { return }
                askDirectory(directory, password, client)
            case .awaitsPassword(let secret):
                guard let password = text(of: body, client) else { return }
                check(password, secret, client)
            }
        } catch {
            fail(client, error.pgError(user: client.user))
        }
    }

    /// The bytes up to the NUL at the end; nil: the client has been refused.
    private func text(
        of body: UnsafeRawBufferPointer, _ client: ClientConnection
    ) -> [UInt8]? {
        guard let range = cString(in: body, from: 0), range.upperBound == body.count - 1 else {
            counters.protocolErrors += 1
            refuse(client, .fatal(.protocolViolation, "invalid password packet"))
            return nil
        }
        return Array(body[range])
    }

    // MARK: MD5 and plain

    private func check(
        md5 answer: [UInt8], _ salt: [UInt8], _ secret: StoredSecret?, _ client: ClientConnection
    ) {
        let arithmetic = OpenSSLArithmetic()
        let hash: String?
        switch secret {
        case .md5(let stored)?: hash = stored
        case .plain(let password)?:
            hash = MD5Password.hash(
                password: password, user: client.user, arithmetic: arithmetic)
        case .scram?: preconditionFailure("a SCRAM secret was to be proven by MD5")
        case nil: hash = nil
        }
        let expected = MD5Password.answer(
            hash: hash ?? String(repeating: "x", count: 35), salt: salt, arithmetic: arithmetic)
        guard let hash, let expected, arithmetic.equal(answer, Array(expected.utf8)) else {
            fail(client, ScramError.wrongProof.pgError(user: client.user))
            return
        }
        switch secret {
        case .plain(let password)?: client.login?.learned = .password(Secret(bytes: password))
        default: client.login?.learned = .hashed(.md5(hash))
        }
        authenticated(client)
    }

    private func check(
        _ password: [UInt8], _ secret: StoredSecret, _ client: ClientConnection
    ) {
        let user = client.user
        if case .scram(let stored) = secret {
            guard stored.iterations <= settings.scramIterationsMax else {
                fail(client, ScramError.wrongProof.pgError(user: user))
                return
            }
            workOut(for: client) {
                PasswordCheck.fits(password, secret, user: user, arithmetic: OpenSSLArithmetic())
            } then: {
                $0.judge($2, password, $1)
            }
        } else {
            judge(
                PasswordCheck.fits(password, secret, user: user, arithmetic: OpenSSLArithmetic()),
                password, client)
        }
    }

    func judge(_ fits: Bool, _ password: [UInt8], _ client: ClientConnection) {
        guard fits else {
            fail(client, ScramError.wrongProof.pgError(user: client.user))
            return
        }
        client.login?.learned = .password(Secret(bytes: password))
        authenticated(client)
    }
}

import BrokerAuthentication
import BrokerConfiguration
import BrokerConsole
import Glibc
import LibPQ
import LibUV
import PostgresWire

extension OpenSSLArithmetic: ScramArithmetic {}

/// Who may come in, and how it shows who it is.
///
/// First the method is chosen (`method`), then it is carried out. A method is one case of
/// `AuthenticationMethod`, one branch of `carryOut`, and for those that ask the client one case of
/// `ClientLogin.Exchange`.
extension Broker {
    func authenticate(_ client: ClientConnection) {
        carryOut(method(for: client), for: client)
    }

    /// Which method is this client's.
    private func method(for client: ClientConnection) -> AuthenticationMethod {
        switch settings.authType {
        case .hba:
            isConsoleOfOwner(client) ? .trust : ruledMethod(for: client) ?? .noRule
        case .trust: .trust
        case .peer: .peerOrPassword
        case .scramSHA256, .md5:
            isConsoleOfOwner(client) ? .trust : settings.authType == .md5 ? .md5 : .scramSHA256
        }
    }

    /// Ends in `authenticated` or in `fail`, at once or after the client's answers.
    private func carryOut(_ method: AuthenticationMethod, for client: ClientConnection) {
        switch method {
        case .trust: authenticated(client)
        case .peer, .peerOrPassword: askTheKernel(client, orPassword: method == .peerOrPassword)
        case .scramSHA256, .md5: askForProof(client)
        case .peerByRule(let map):
            if kernelAllows(client, map: map) {
                authenticated(client)
            } else {
                fail(client, kernelRefused(client, map: map))
            }
        case .reject: fail(client, rejectedByRule(client))
        case .noRule: fail(client, noRule(for: client))
        }
    }

    /// The broker's own user, and root, on the Unix socket: the console is theirs without a password.
    private func isConsoleOfOwner(_ client: ClientConnection) -> Bool {
        guard let peer = client.peer, isConsole(client) else { return false }
        return isOwner(peer)
    }

    private func isConsole(_ client: ClientConnection) -> Bool {
        ConsoleSession.databases.contains(client.database)
    }

    // MARK: Peer

    private func askTheKernel(_ client: ClientConnection, orPassword: Bool) {
        if isTrusted(client) {
            authenticated(client)
        } else if orPassword,
            client.peer == nil
                ? configured.userList != nil : configured.userList?.secret(for: client.user) != nil
        {
            askForProof(client)
        } else if let peer = client.peer {
            fail(client, Self.peerRefused(peer, client.systemUser, client.user))
        } else {
            fail(client, Self.noPeerOverTCP(client.user))
        }
    }

    /// The process of the broker's own user, or of root.
    func isOwner(_ peer: PeerCredentials) -> Bool { peer.userID == 0 || peer.userID == geteuid() }

    /// Whether the client is let in as its role by its uid alone: root, the broker's own user, the user of
    /// the role's name, or one of peer_map. Also who may have a direct lease.
    func isTrusted(_ client: ClientConnection) -> Bool {
        guard let peer = client.peer else { return false }
        if isOwner(peer) { return true }
        return client.systemUser == client.user
            || settings.peerMap.contains {
                $0.allows(
                    systemUser: client.systemUser, userID: peer.userID, role: client.user)
            }
    }

    private static func peerRefused(
        _ peer: PeerCredentials, _ name: String?, _ role: String
    ) -> PgError {
        let shown = name.map { "user \"\($0)\"" } ?? "a user without a name"
        return .fatal(
            .invalidAuthorization, "peer authentication failed for user \"\(role)\"",
            detail: "The client's process runs as \(shown) (uid \(peer.userID)).",
            hint:
                "Let it in with peer_map = \(name ?? "\(peer.userID)"):\(role) (or PGLEASE_PEER_MAP), log in as the role of the user's name, or give \"\(role)\" a secret in auth_file."
        )
    }

    private static func noPeerOverTCP(_ role: String) -> PgError {
        .fatal(
            .invalidAuthorization, "no authentication over TCP for user \"\(role)\"",
            detail: "auth_type is peer, which needs the Unix socket.",
            hint: "Use the Unix socket, or set auth_type = scram-sha-256 with an auth_file.")
    }

    /// The name in the passwd database. May ask a name service once; answers of the local file come at once.
    static func userName(of uid: UInt32) -> String? {
        var entry = passwd()
        var result: UnsafeMutablePointer<passwd>?
        var buffer = [CChar](repeating: 0, count: 4096)
        guard getpwuid_r(uid, &entry, &buffer, buffer.count, &result) == 0, result != nil,
            let name = entry.pw_name
        else { return nil }
        return String(cString: name)
    }

    // MARK: SCRAM-SHA-256

    private func askForProof(_ client: ClientConnection) {
        let arithmetic = OpenSSLArithmetic()
        let secret: ScramSecret
        switch configured.userList?.secret(for: client.user) {
        case .plain(let password) where !password.isEmpty:
            secret = derivedSecret(of: client.user, password)
        case .scram(let stored): secret = stored
        case .md5:
            fail(client, Self.md5Refused(client.user))
            return
        case .plain, nil:
            // An empty secret, a placeholder, is nobody's password.
            secret = ScramSecret.mock(
                user: client.user, key: configured.mockKey, arithmetic: arithmetic)
        }
        let nonce = base64Encode(arithmetic.randomBytes(18))
        client.login?.exchange = .awaitsMechanism(
            ScramServer(secret: secret, nonce: nonce, arithmetic: arithmetic))
        var bytes: [UInt8] = []
        bytes.appendAuthenticationSASL(mechanisms: [ScramServer.mechanism])
        send(bytes, to: client)
    }

    /// Thousands of rounds of hashing: once for each user and reload, not for each login.
    private func derivedSecret(of user: String, _ password: String) -> ScramSecret {
        if let known = configured.derivedSecrets[user] { return known }
        let arithmetic = OpenSSLArithmetic()
        let secret = ScramSecret.derive(
            password: password, salt: arithmetic.randomBytes(16),
            iterations: ScramSecret.defaultIterations, arithmetic: arithmetic)
        configured.derivedSecrets[user] = secret
        return secret
    }

    /// A password message. Returns how many bytes are dealt with.
    func password(_ bytes: UnsafeRawBufferPointer, _ client: ClientConnection) -> Int {
        guard bytes.count >= MessageHeader.size, let login = client.login else { return 0 }
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

    private static let longestPasswordMessage = 4096

    private func proof(
        _ body: UnsafeRawBufferPointer, _ client: ClientConnection, _ login: ClientLogin
    ) {
        do throws(ScramError) {
            switch login.exchange {
            case .none:
                throw .outOfOrder
            case .awaitsMechanism(var server):
                guard let first = SASLInitialResponse(body: body), let data = first.data,
                    first.mechanism == ScramServer.mechanism
                else {
                    refuse(
                        client,
                        .fatal(.protocolViolation, "client selected an invalid SASL mechanism"))
                    return
                }
                let answer = try server.handleFirst(data)
                login.exchange = .awaitsProof(server)
                var bytes: [UInt8] = []
                bytes.appendAuthenticationSASLContinue(answer)
                send(bytes, to: client)
            case .awaitsProof(var server):
                login.exchange = .none
                let answer = try server.handleFinal(Array(body))
                var bytes: [UInt8] = []
                bytes.appendAuthenticationSASLFinal(answer)
                send(bytes, to: client)
                authenticated(client)
            }
        } catch {
            fail(client, error.pgError(user: client.user))
        }
    }

    private static func md5Refused(_ user: String) -> PgError {
        .fatal(
            .invalidAuthorization, "the secret of user \"\(user)\" is an MD5 hash",
            detail: "pglease authenticates with SCRAM-SHA-256, which an MD5 hash cannot serve.",
            hint: "Put the SCRAM secret (from pg_authid) or the plain password into auth_file.")
    }

    private func fail(_ client: ClientConnection, _ error: PgError) {
        counters.loginFailures += 1
        refuse(client, error)
    }
}

import LeaseCore
import LibUV
import Logging
import PostgresWire

/// LEASE and LEASE RETURN.
extension Broker {
    func carryOut(_ command: LeaseCommand, _ form: LeaseForm, for client: ClientSession) {
        switch command {
        case .acquire(let terms): acquire(LeaseCall(terms, form), for: client)
        case .giveBack: giveBack(client, form)
        }
    }

    // MARK: LEASE

    private func acquire(_ call: LeaseCall, for client: ClientSession) {
        if let server = client.server {
            if server.explicit != nil {
                answer(Self.leaseIsHeld, call.form, to: client)
                return
            }
            if server.stream.status != .idle {
                answer(Self.leaseInTransaction, call.form, to: client)
                return
            }
            if server.pool.mode.pooling == .session {
                client.call = call
                beginExplicitLease(server, client, call)
                return
            }
            detach(server, client)
            finishLease(server)
        }
        client.call = call
        requestLease(client)
        if let error = client.refusal {
            client.refusal = nil
            failLeaseCall(client, error)
        }
    }

    /// The server is there. The client is told once its settings are in force.
    func beginExplicitLease(
        _ server: ServerConnection, _ client: ClientSession, _ call: LeaseCall
    ) {
        let now = now
        server.explicit = ExplicitLease(call.terms, since: now)
        server.stream.hold()
        guard server.profile != client.profile, server.pool.mode.pooling != .session else {
            answerLease(server, client, call)
            return
        }
        putProfileInForce(server, client)
    }

    /// Answers a LEASE, with the connection itself if that was asked for and may be.
    func answerLease(_ server: ServerConnection, _ client: ClientSession, _ call: LeaseCall) {
        client.call = nil
        let now = now
        server.explicit?.since = now
        if let hold = call.terms.hold { housekeeping(by: now + hold) }
        tellNews(client, server)
        let reason = call.terms.isDirect ? reasonNotDirect(server, client) : nil
        if call.terms.isDirect, reason == nil, handOut(server, to: client, call) {
            counters.directLeases += 1
        } else {
            if let reason { noteNotDirect(client, server, reason) }
            leaseAnswer(server, call, kind: "relay").withUnsafeBytes { send($0, to: client) }
        }
        counters.explicitLeases += 1
        if !client.pending.isEmpty || client.goodbye != nil { queueToResume(client) }
    }

    func leaseAnswer(_ server: ServerConnection, _ call: LeaseCall, kind: String) -> [UInt8] {
        var formats: [Int16] = []
        if case .extended(let asked) = call.form { formats = asked }
        var bytes: [UInt8] = []
        if case .simple = call.form { bytes.appendRowDescription(LeaseAnswer.columns()) }
        let isAdopted = server.pool.mode.pooling == .session
        bytes.appendDataRow(
            LeaseAnswer.row(
                lease: server.lease.map { Int64(clamping: $0.rawValue) } ?? 0,
                serverProcess: server.backendProcessID, kind: kind,
                waitedMicroseconds: isAdopted ? 0 : server.leaseWaited.wholeMicroseconds,
                formats: formats))
        bytes.appendCommandComplete("LEASE")
        if case .simple = call.form { bytes.appendReadyForQuery(.idle) }
        return bytes
    }

    /// The LEASE that the client waits for ends with this error; the session goes on.
    func failLeaseCall(_ client: ClientSession, _ error: PgError) {
        guard let call = client.call else { return }
        client.call = nil
        answer(error, call.form, to: client)
        if !client.pending.isEmpty || client.goodbye != nil { queueToResume(client) }
    }

    /// Answers a lease command with an error.
    private func answer(_ error: PgError, _ form: LeaseForm, to client: ClientSession) {
        var bytes: [UInt8] = []
        bytes.appendErrorResponse(error)
        switch form {
        case .simple: bytes.appendReadyForQuery(client.server?.stream.status ?? .idle)
        case .extended: client.stream.failBatch()
        }
        bytes.withUnsafeBytes { send($0, to: client) }
    }

    // MARK: LEASE RETURN

    private func giveBack(_ client: ClientSession, _ form: LeaseForm) {
        guard let server = client.server, server.explicit != nil else {
            answer(client.server == nil ? Self.noLease : Self.notExplicit, form, to: client)
            return
        }
        let isSession = server.pool.mode.pooling == .session
        let status = server.stream.status
        var bytes: [UInt8] = []
        if status != .idle, !isSession { bytes.appendNoticeResponse(Self.rolledBack) }
        appendParameters(of: client, all: server.isDirect, to: &bytes)
        bytes.appendCommandComplete("LEASE RETURN")
        if case .simple = form { bytes.appendReadyForQuery(isSession ? status : .idle) }
        // The client goes on while its connection is seen to.
        bytes.withUnsafeBytes { send($0, to: client) }
        if server.isDirect {
            takeBack(server, from: client)
        } else if isSession {
            server.explicit = nil
        } else {
            giveBackRelayed(server, client)
        }
    }

    private func giveBackRelayed(_ server: ServerConnection, _ client: ClientSession) {
        detach(server, client)
        if server.stream.status == .idle {
            finishLease(server)
        } else {
            let deadline = now + Self.drainTimeout
            server.drainDeadline = deadline
            housekeeping(by: deadline)
            ask(server, .rollback, ["ROLLBACK"])
        }
    }

    /// What the lease set is gone with it: the client learns what holds from here on.
    private func appendParameters(
        of client: ClientSession, all: Bool, to bytes: inout [UInt8]
    ) {
        guard let pool = client.pool, pool.mode.pooling != .session, let told = client.told else {
            return
        }
        let expected = expectedParameters(client, pool)
        let news =
            all
            ? expected.values.filter { Self.settable.contains($0.name) }
            : expected.news(since: told)
        client.told = expected
        for parameter in news {
            bytes.appendParameterStatus(name: parameter.name, value: parameter.value)
        }
    }

    /// The reported settings that a session may change for itself.
    private static let settable: Set = [
        "application_name", "client_encoding", "DateStyle", "default_transaction_read_only",
        "IntervalStyle", "search_path", "session_authorization", "is_superuser",
        "standard_conforming_strings", "TimeZone",
    ]

    // MARK: Refusals

    private static let leaseIsHeld = PgError.error(
        .objectNotInPrerequisite, "a lease is held already",
        hint: "A session holds one at a time: send LEASE RETURN first, or use another connection.")

    private static let leaseInTransaction = PgError.error(
        .activeSqlTransaction, "LEASE cannot run inside a transaction block",
        hint: "Send LEASE before BEGIN (in psycopg2: with conn.autocommit = True).")

    private static let noLease = PgError.error(
        .objectNotInPrerequisite, "no lease is held",
        detail: "LEASE RETURN ends a lease that LEASE began on this connection.",
        hint: "It may have been returned before: one LEASE RETURN for one LEASE.")

    private static let notExplicit = PgError.error(
        .objectNotInPrerequisite, "no lease is held by LEASE",
        detail: "The server connection is held by the session or by an open transaction.",
        hint: "It goes back by itself: at the end of the transaction, or of the session.")

    private static let rolledBack = PgError(
        severity: .warning, sqlState: .activeSqlTransaction,
        message: "the lease was returned in an open transaction, which is rolled back",
        hint: "COMMIT before LEASE RETURN.")
}

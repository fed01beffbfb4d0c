// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// LEASE and LEASE RETURN.
extension Engine {
    mutating func carryOut(_ command: LeaseCommand, _ form: LeaseForm, for client: ClientID) {
        switch command {
        case .acquire(let terms): acquire(LeaseCall(terms, form), for: client)
        case .giveBack: giveBack(client, form)
        }
    }

    // MARK: LEASE

    private mutating func acquire(_ call: LeaseCall, for client: ClientID) {
        // One that saw the page say no in the moment in which it took its lease back has let it lie.
        if let server = clients[client].server { _ = reclaim(server, .waiter) }
        if let server = clients[client].server {
            if servers[server].isExplicit {
                answer(LeaseErrors.leaseIsHeld, call.form, to: client)
                return
            }
            if servers[server].stream.status != .idle {
                answer(LeaseErrors.leaseInTransaction, call.form, to: client)
                return
            }
            if pools[servers[server].pool].isSession {
                clients[client].request.call = call
                beginExplicitLease(server, client, call)
                return
            }
            detach(server, client)
            finishLease(server)
        }
        clients[client].request.call = call
        requestLease(client)
    }

    /// The server is there. The client is told once its settings are in force.
    mutating func beginExplicitLease(_ server: ServerID, _ client: ClientID, _ call: LeaseCall) {
        servers[server].explicit = ExplicitLease(call.terms, since: now)
        servers[server].stream.hold()
        guard
            servers[server].profile.current != clients[client].settings.current
                || servers[server].profile.first != .nothing,
            !pools[servers[server].pool].isSession
        else {
            answerLease(server, client, call)
            return
        }
        putProfileInForce(server, client)
    }

    /// Answers a LEASE, with the connection itself if that was asked for and may be.
    mutating func answerLease(_ server: ServerID, _ client: ClientID, _ call: LeaseCall) {
        clients[client].request.call = nil
        servers[server].explicit?.since = now
        if let hold = call.terms.hold { look(at: server, by: now + hold) }
        if clients[client].flags.hasLostParked { tellAfterParking(client, server) }
        tellNews(client, server)
        let lease = servers[server].leaseID
        let reason = call.terms.isDirect ? reasonNotDirect(server, client) : nil
        if call.terms.isDirect, reason == nil, handOut(server, to: client, call) {
            notices.append(.leaseBegan(client, lease, isDirect: true))
        } else {
            if let reason, let lease { notices.append(.leaseNotDirect(client, lease, reason)) }
            let bytes = leaseAnswer(server, call, kind: "relay")
            bytes.withUnsafeBytes { send($0, to: client) }
            // Nobody may be there any more to read this: what was said behind LEASE is run all the same.
            if clients[client].goodbye == .said { watchForMessages(client) }
            notices.append(.leaseBegan(client, lease, isDirect: false))
        }
        if !clients[client].pending.isEmpty || clients[client].goodbye != nil {
            queueToResume(client)
        }
    }

    func leaseAnswer(_ server: ServerID, _ call: LeaseCall, kind: String) -> [UInt8] {
        var formats: [Int16] = []
        if case .extended(let asked) = call.form { formats = asked }
        var bytes: [UInt8] = []
        if case .simple = call.form { bytes.appendRowDescription(LeaseAnswer.columns()) }
        let isAdopted = pools[servers[server].pool].isSession
        bytes.appendDataRow(
            LeaseAnswer.row(
                lease: Int64(clamping: servers[server].leaseID?.rawValue ?? 0),
                serverProcess: servers[server].facts.backendProcessID, kind: kind,
                waitedMicroseconds: isAdopted
                    ? 0 : (servers[server].lease?.waited ?? 0) / 1_000,
                formats: formats))
        bytes.appendCommandComplete("LEASE")
        if case .simple = call.form { bytes.appendReadyForQuery(.idle) }
        return bytes
    }

    /// The LEASE that the client waits for ends with this error; the session goes on.
    mutating func failLeaseCall(_ client: ClientID, _ error: PgError) {
        guard let call = clients[client].call else { return }
        clients[client].request.call = nil
        answer(error, call.form, to: client)
        if !clients[client].pending.isEmpty || clients[client].goodbye != nil {
            queueToResume(client)
        }
    }

    /// Answers a lease command with an error.
    private mutating func answer(_ error: PgError, _ form: LeaseForm, to client: ClientID) {
        var bytes: [UInt8] = []
        bytes.appendErrorResponse(error)
        switch form {
        case .simple:
            bytes.appendReadyForQuery(
                clients[client].server.map { servers[$0].stream.status } ?? .idle)
        case .extended: clients[client].stream.failBatch()
        }
        bytes.withUnsafeBytes { send($0, to: client) }
    }

    // MARK: LEASE RETURN

    private mutating func giveBack(_ client: ClientID, _ form: LeaseForm) {
        guard let server = clients[client].server, servers[server].isExplicit else {
            answer(
                clients[client].server == nil ? LeaseErrors.noLease : LeaseErrors.notExplicit, form,
                to: client)
            return
        }
        let isSession = pools[servers[server].pool].isSession
        let status = servers[server].stream.status
        var bytes: [UInt8] = []
        if status != .idle, !isSession { bytes.appendNoticeResponse(LeaseErrors.rolledBack) }
        appendParameters(of: client, all: servers[server].isDirect, to: &bytes)
        bytes.appendCommandComplete("LEASE RETURN")
        if case .simple = form { bytes.appendReadyForQuery(isSession ? status : .idle) }
        // The client goes on while its connection is seen to.
        bytes.withUnsafeBytes { send($0, to: client) }
        if servers[server].isDirect {
            stopParking(server, client)
            takeBack(server, from: client)
        } else if isSession {
            servers[server].explicit = nil
            if clients[client].flags.departure == .due { mayDepart(client) }
        } else {
            giveBackRelayed(server, client)
        }
    }

    private mutating func giveBackRelayed(_ server: ServerID, _ client: ClientID) {
        detach(server, client)
        if servers[server].stream.status == .idle {
            finishLease(server)
        } else {
            beginDraining(server, within: .seconds(10))
            ask(server, .rollback, ["ROLLBACK"])
        }
    }

    /// What the lease set is gone with it: the client learns what holds from here on.
    mutating func appendParameters(
        of client: ClientID, all: Bool, to bytes: inout [UInt8]
    ) {
        guard let pool = clients[client].pool, !pools[pool].isSession,
            let told = clients[client].settings.told
        else { return }
        let expected = expectedParameters(of: client, in: pool, assumed: told)
        let news =
            all
            ? expected.values.filter { settable.contains($0.name) }
            : expected.news(since: told)
        clients[client].settings.told = expected
        for parameter in news {
            bytes.appendParameterStatus(name: parameter.name, value: parameter.value)
        }
    }

    /// The reported settings that a session may change for itself.
    private var settable: Set<String> {
        [
            "application_name", "client_encoding", "DateStyle", "default_transaction_read_only",
            "IntervalStyle", "search_path", "session_authorization", "is_superuser",
            "standard_conforming_strings", "TimeZone",
        ]
    }
}

// SPDX-License-Identifier: Apache-2.0

import LibPQ
import PostgresWire

/// Taking a lease and giving it back.
extension Session {
    /// Asks for a lease. On an interruption the request is cancelled at the broker. `deadline` is
    /// for a broker that does not answer at all.
    func takeLease(
        _ command: LeaseWording, deadline: ContinuousClock.Instant?, interruption: Interruption
    ) throws -> LeaseGrant {
        precondition(grant == nil, "a lease inside a lease of one connection")
        var command = command
        command.isDirect = command.isDirect && usesUnixSocket
        command.parks = command.parks && command.isDirect && command.hold == nil
        let granted = try request(command, deadline: deadline, interruption: interruption)
        guard let granted else {
            // The descriptor was lost on its way; through the relay nothing can be.
            command.isDirect = false
            try giveBackRaw(interruption: interruption)
            guard
                let relayed = try request(
                    command, deadline: deadline, interruption: interruption)
            else { throw LeaseError.brokerAway(reason: "it granted no lease") }
            return relayed
        }
        brokerSaidUse(command)
        return granted
    }

    /// Nil when a direct lease came without its descriptor.
    private func request(
        _ command: LeaseWording, deadline: ContinuousClock.Instant?, interruption: Interruption
    ) throws -> LeaseGrant? {
        try operation(interruption) {
            patience = Patience(until: deadline, interruption: interruption)
            do {
                try connection.sendScript(command.text)
                return try receiveGrant(wantsDirect: command.isDirect)
            } catch let error as ServerMessage {
                throw leaseError(asking: error)
            }
        }
    }

    private func receiveGrant(wantsDirect: Bool) throws -> LeaseGrant? {
        var received: BlockingConnection.ReceivedDescriptors?
        if wantsDirect {
            do {
                received = try connection.peekDescriptors(patience)
            } catch let failure as WaitFailure {
                try giveUp(failure)
            }
        }
        let rows = Rows(try collect())
        let granted: LeaseGrant
        do {
            granted = try LeaseGrant(row: rows.one())
        } catch {
            // Whether it granted one is unknown, so the connection goes, and a lease with it.
            let meaning = LeaseError.brokerAway(
                reason: "its answer to LEASE is not understood: \(error)")
            fault = meaning
            throw meaning
        }
        if granted.kind == .direct {
            guard var descriptors = received.take() else { return nil }
            let fresh = descriptors.takePage()
            guard connection.goDirect(descriptors) else { return nil }
            parking.began(fresh)
        }
        grant = granted
        return granted
    }

    private func giveBackRaw(interruption: Interruption) throws {
        _ = try operation(interruption) {
            patience = Patience(until: ContinuousClock.now.advanced(by: grace))
            try connection.sendScript(LeaseWording.giveBack)
            return try collect()
        }
    }

    /// Gives the lease back: ends what is under way, rolls back, swaps the sockets. Never throws and
    /// takes a few seconds at most: a connection on which that does not go is closed, which gives
    /// the lease back as well. True when the connection can be used for another lease.
    func endLease() -> Bool {
        if connection.processID != currentProcessID() {
            connection.abandon()
            return false
        }
        let isOwed = grant != nil
        defer {
            grant = nil
            if !parking.isParked { preparedStatements = 0 }
            transactionDepth = 0
            statementTimeout = nil
            canceller = StatementCanceller()
        }
        do {
            try endLeaseOrThrow(isOwed: isOwed)
            return true
        } catch {
            fault = fault ?? .closed
            connection.destroy()
            return false
        }
    }

    private func endLeaseOrThrow(isOwed: Bool) throws {
        // A lease that is over by the broker's word is asked about as well: an answer that there is
        // none is as good.
        if let fault {
            guard connection.isOpen, !connection.isDirect, isOverInRelay(fault) else { throw fault }
            self.fault = nil
        }
        let interruption = Interruption(waking: connection.wakeup)
        statementTimeout = grace
        try endUnfinished()
        if connection.transaction != .idle {
            _ = try operation(interruption) {
                try connection.sendScript("ROLLBACK")
                return try collect()
            }
        }
        while connection.takeNotification() != nil {}
        if park() { return }
        connection.leaveDirect()
        if isOwed { try giveBack(interruption) }
    }

    /// Over the broker's socket. That the lease was over is as good.
    func giveBack(_ interruption: Interruption) throws {
        do {
            try giveBackRaw(interruption: interruption)
        } catch let error as LeaseError where error.code == .sql && error.sqlState == "55000" {
            // It was over.
        } catch LeaseError.Code.revoked, LeaseError.Code.serverLost {
            fault = nil
        }
    }

    private func isOverInRelay(_ fault: LeaseError) -> Bool {
        fault.code == .revoked || fault.code == .serverLost
    }

    // MARK: Errors

    /// What an error to LEASE means.
    private func leaseError(asking error: ServerMessage) -> LeaseError {
        let postgres = PostgresError(error)
        if error.sqlState.isEmpty || error.severity == "FATAL" || !connection.isOpen {
            let meaning = LeaseError.brokerAway(reason: error.message)
            fault = meaning
            return meaning
        }
        switch error.sqlState {
        case SQLState.tooManyConnections.rawValue:
            return .exhausted(
                LeaseError.Exhaustion(
                    waited: .zero, attempts: 1, holders: Holder.list(in: error.detail ?? ""),
                    message: error.message, detail: error.detail, hint: error.hint,
                    isLocal: false))
        case SQLState.deadlockDetected.rawValue: return .poolLock(postgres)
        case SQLState.queryCanceled.rawValue:
            if case .cancelling(.timedOut) = stage {
                return .brokerAway(reason: "it did not answer in time")
            }
            return .cancelled
        case SQLState.syntaxError.rawValue: return .notABroker(postgres)
        default: return .serverUnreachable(postgres)
        }
    }

    /// libpq has lost the connection that it works with: the broker's, or the server's in a direct
    /// lease, in which case the broker knows why.
    func meaningOfLoss(_ error: ServerMessage) -> LeaseError {
        guard grant != nil, connection.isDirect else {
            return .brokerAway(reason: error.message)
        }
        var lost = PostgresError(error)
        if lost.sqlState.isEmpty { lost.sqlState = SQLState.connectionFailure.rawValue }
        let answer = connection.askBrokerAfterLoss(until: .now.advanced(by: grace))
        switch answer?.sqlState.rawValue {
        case nil: return .serverLost(lost)
        case SQLState.idleSessionTimeout.rawValue: return .revoked(PostgresError(answer!))
        default:
            if answer!.severity == .fatal { return .brokerAway(reason: answer!.message) }
            // The server's own last words say more than that it is gone.
            return .serverLost(error.sqlState.isEmpty ? PostgresError(answer!) : lost)
        }
    }
}

extension BlockingConnection {
    /// `LEASE RETURN` over the broker's socket, without libpq, which has closed its side. Nil when
    /// the lease was returned, or the broker says nothing.
    fileprivate func askBrokerAfterLoss(until deadline: ContinuousClock.Instant) -> PgError? {
        defer { destroy() }
        guard let broker = takeBrokerSocket() else { return nil }
        var question: [UInt8] = []
        question.appendQuery(LeaseWording.giveBack)
        let answer = broker.ask(question, until: deadline, wakeup: wakeup) { bytes in
            MessageWalk(bytes).contains { $0.kind == UInt8(ascii: "Z") }
        }
        for message in MessageWalk(answer) where message.kind == UInt8(ascii: "E") {
            let fields = answer[message.body].withUnsafeBytes { ErrorFields(body: $0) }
            if let fields { return fields.pgError }
        }
        return nil
    }
}

/// The whole messages in some bytes, one after the other.
private struct MessageWalk: Sequence, IteratorProtocol {
    private let bytes: [UInt8]
    private var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func next() -> (kind: UInt8, body: Range<Int>)? {
        guard offset + 5 <= bytes.count else { return nil }
        let length = bytes[(offset + 1)..<(offset + 5)].reduce(0) { $0 << 8 | Int($1) }
        guard length >= 4, offset + 1 + length <= bytes.count else { return nil }
        defer { offset += 1 + length }
        return (bytes[offset], (offset + 5)..<(offset + 1 + length))
    }
}

extension PostgresError {
    fileprivate init(_ error: PgError) {
        self.init(
            severity: error.severity.rawValue, sqlState: error.sqlState.rawValue,
            message: error.message, detail: error.detail, hint: error.hint)
        position = error.position
    }
}

extension LeaseError {
    /// Why no connection to the broker came about.
    init(connecting failure: ConnectionFailure) {
        guard let state = failure.sqlState else {
            self =
                LeaseError.isPermissionDenied(failure.message)
                ? .refused(.socketForbidden(failure.message))
                : .brokerAway(reason: failure.message, underlying: failure)
            return
        }
        // Starting, stopping, full: all of which pass.
        if ["57P01", "57P02", "57P03", "53300", "08001", "08006"].contains(state) {
            self = .brokerAway(reason: failure.message, underlying: failure)
            return
        }
        self = .refused(
            PostgresError(
                severity: failure.severity ?? "FATAL", sqlState: state, message: failure.message,
                detail: failure.detail, hint: failure.hint))
    }
}

extension LeaseError {
    /// Of the socket's file or its folder: asking again does not help.
    fileprivate static func isPermissionDenied(_ message: String) -> Bool {
        message.contains("on socket \"") && message.hasSuffix("failed: Permission denied")
    }
}

extension PostgresError {
    /// Nobody answered with an error: the kernel did not let this process near the socket.
    fileprivate static func socketForbidden(_ message: String) -> PostgresError {
        PostgresError(
            severity: "FATAL", sqlState: SQLState.invalidAuthorization.rawValue, message: message,
            hint:
                "This user may not use the broker's socket: see unix_socket_mode and unix_socket_group in the broker's configuration, and the mode of the socket's folder."
        )
    }
}

// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// One broker connection and what a lease on it does: every call blocks the thread that makes it, up
/// to the operation's deadline, its interruption, or the loss of the connection.
///
/// Invariant: one thread at a time uses it. It is handed from the pool to a lease and back (hence
/// Sendable). Once `fault` is set, nothing is sent any more.
final class Session: @unchecked Sendable {
    /// What is under way between two calls, and must be ended before anything else is sent.
    enum Unfinished {
        case rows
        case copyOut
        case copyIn
    }

    /// How far an operation is.
    enum Stage {
        case running
        /// A cancel request was sent; the answer has a short time to come.
        case cancelling(WaitFailure)
    }

    let connection: BlockingConnection
    let usesUnixSocket: Bool
    /// For an answer to a cancel request, and for the return of a lease.
    let grace: Duration
    /// Nil without a lease: between leases, and in tests on PostgreSQL itself.
    var grant: LeaseGrant?
    var canceller = StatementCanceller()
    var statementTimeout: Duration?
    /// Why nothing goes any more.
    var fault: LeaseError?
    var unfinished: Unfinished?
    /// Which stream `unfinished` is.
    var streamNumber = 0
    var streamDescription: RowDescription?
    /// Came behind rows that had to be told first.
    var streamError: (any Error)?
    var stage = Stage.running
    var patience = Patience()
    /// Of one session of the server's: a lease, or several that were parked in between.
    var preparedStatements = 0
    /// A lease that goes on between two uses.
    var parking = Parking()
    var transactionDepth = 0
    private var cancelRequest: BackgroundWork?

    init(_ connection: BlockingConnection, grace: Duration) {
        self.connection = connection
        self.grace = grace
        usesUnixSocket = connection.isUnixSocket
    }

    /// Opens a connection to the broker. Throws a ``LeaseError``.
    static func connect(
        _ parameters: ConnectionParameters, wakeup: ThreadWakeup, patience: Patience,
        grace: Duration
    ) throws -> Session {
        do {
            return Session(
                try BlockingConnection.connect(parameters, wakeup: wakeup, patience: patience),
                grace: grace)
        } catch let failure as ConnectionFailure {
            throw LeaseError(connecting: failure)
        } catch WaitFailure.interrupted {
            throw LeaseError.cancelled
        } catch {
            throw LeaseError.brokerAway(reason: "no connection to it within the time given")
        }
    }

    // MARK: Operations

    /// Runs what sends and reads. Errors of the server come out as ``LeaseError``.
    func operation<Result>(
        _ interruption: Interruption, continuing: Bool = false, _ body: () throws -> Result
    ) throws -> Result {
        try checkUsable()
        finishCancelRequest()
        try checkUsable()
        canceller.began(interruption)
        defer { canceller.ended() }
        stage = .running
        patience = Patience(
            until: statementTimeout.map { ContinuousClock.now.advanced(by: $0) },
            interruption: interruption)
        if !continuing { try endUnfinished() }
        do {
            return try body()
        } catch let error as ServerMessage {
            throw leaseError(error)
        } catch is WaitFailure {
            throw giveUpFault()
        }
    }

    func checkUsable() throws(LeaseError) {
        if connection.processID != currentProcessID() { throw .forked }
        if let fault { throw fault }
    }

    /// The next result of the statement; nil at its end.
    func nextResult() throws -> ClientResult? {
        while true {
            do {
                return try connection.nextResult(patience)
            } catch {
                try giveUp(error)
            }
        }
    }

    /// A wait ended early. First a cancel request goes out and the answer gets a short time; when
    /// that is over too, the connection is given up.
    func giveUp(_ failure: WaitFailure) throws {
        guard case .running = stage else { throw giveUpFault() }
        stage = .cancelling(failure)
        requestCancel()
        patience = Patience(until: ContinuousClock.now.advanced(by: grace))
    }

    private func giveUpFault() -> LeaseError {
        let error: LeaseError =
            if case .cancelling(.interrupted) = stage { .cancelled } else {
                statementTimeout.map { .timedOut(after: $0) }
                    ?? .brokerAway(reason: "no answer")
            }
        fault = .brokerAway(reason: "it did not answer a cancelled statement")
        connection.destroy()
        return error
    }

    /// PQcancel connects anew and waits until the other side hangs up, so a thread of its own does
    /// it; the next statement waits for its end, that the request cannot hit that one.
    func requestCancel() {
        let handle = connection.cancelHandle
        cancelRequest = BackgroundWork.start { _ = handle.request() }
    }

    func finishCancelRequest() {
        guard let request = cancelRequest else { return }
        cancelRequest = nil
        let deadline = ContinuousClock.now.advanced(by: grace)
        if !request.wait(until: deadline) {
            fault = .brokerAway(reason: "a cancel request got no answer")
            connection.destroy()
        }
    }

    /// The one result of a statement. Results before the last are dropped (a script).
    func collect() throws -> ClientResult {
        var last: ClientResult?
        var firstError: (any Error)?
        while let result = try nextResult() {
            switch result.status {
            case .rows, .singleRow, .command, .empty, .pipelineSync, .pipelineAborted:
                last = result
            case .error, .unexpected:
                firstError = firstError ?? result.error
            case .copyIn, .copyOut, .copyBoth:
                firstError = try refuseCopy(result)
            }
        }
        if let firstError { throw firstError }
        guard let last else {
            throw ServerMessage(severity: "FATAL", sqlState: "", message: "no answer came")
        }
        return last
    }

    /// A COPY in a call that has no place for its data.
    private func refuseCopy(_ result: ClientResult) throws -> LeaseError {
        if result.status == .copyIn {
            try connection.putCopyEnd(failure: "COPY FROM STDIN needs copyIn", patience)
        } else {
            requestCancel()
            try drainCopyOut()
        }
        return .usage("COPY goes through copyIn or copyOut")
    }

    func drainCopyOut() throws {
        var chunk: [UInt8] = []
        while true {
            do {
                if try !connection.getCopyData(into: &chunk, limit: 1, patience) { return }
                chunk.removeAll(keepingCapacity: true)
            } catch {
                try giveUp(error)
            }
        }
    }

    /// Ends what an earlier call left under way: cancels it and reads its rest away. In a
    /// transaction this fails the transaction, as any cancel does.
    func endUnfinished() throws {
        guard let under = unfinished else { return }
        unfinished = nil
        if fault != nil || connection.processID != currentProcessID() { return }
        // Its reader shall not take what comes for its end.
        streamNumber += 1
        let before = patience
        patience = Patience(until: ContinuousClock.now.advanced(by: grace))
        stage = .cancelling(.interrupted)
        defer {
            stage = .running
            patience = before
        }
        do {
            switch under {
            case .rows: requestCancel()
            case .copyOut:
                requestCancel()
                try drainCopyOut()
            case .copyIn:
                try connection.putCopyEnd(failure: "the client gave the COPY up", patience)
            }
            while try nextResult() != nil {}
        } catch let error as ServerMessage {
            throw leaseError(error)
        }
        finishCancelRequest()
        try checkUsable()
    }

    // MARK: Errors

    /// What the server's or libpq's error means for the lease.
    func leaseError(_ error: ServerMessage) -> LeaseError {
        let isLost = error.sqlState.isEmpty || error.severity == "FATAL" || !connection.isOpen
        if isLost {
            let meaning = fault ?? meaningOfLoss(error)
            fault = meaning
            return meaning
        }
        let postgres = PostgresError(error)
        switch error.sqlState {
        case "57014":
            guard case .cancelling(let why) = stage else { return .sql(postgres) }
            if why == .timedOut, let statementTimeout { return .timedOut(after: statementTimeout) }
            return .cancelled
        case "57P05" where grant != nil:
            fault = .revoked(postgres)
            return .revoked(postgres)
        case "08006" where grant != nil:
            fault = .serverLost(postgres)
            return .serverLost(postgres)
        default: return .sql(postgres)
        }
    }
}

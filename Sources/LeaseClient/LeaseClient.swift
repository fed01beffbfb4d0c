// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// Leases server connections from a pglease broker.
///
/// A client is cheap and shared by the whole program: it owns a few connections to the broker, opens
/// each when it is needed first, and reuses them. A lease always comes back: when the closure
/// returns or throws, when its task is cancelled, and when the process dies.
///
///     let client = try LeaseClient()
///     let name = try client.withLease(for: "report", wait: .seconds(2)) { connection in
///         try connection.query("SELECT name FROM users WHERE id = \(7)").one(String.self)
///     }
///
/// A process that forks may go on using its client on both sides: the child makes connections of its
/// own, and never sends a byte on the parent's.
public final class LeaseClient: Sendable {
    private let local: ProcessLocal<ClientState>

    var state: ClientState { local.current }

    /// `connection` is a libpq connection string or `postgresql://` URI that leads to the broker
    /// (`host=/run/pglease port=6432 dbname=app`); without one it is `DATABASE_URL`. What it leaves
    /// open comes from the `PG…` environment and libpq's defaults. Connects to nothing yet.
    ///
    /// Throws ``LeaseError/Code/configuration``.
    public convenience init(
        _ connection: String? = nil, configuration: LeaseConfiguration? = nil
    ) throws(LeaseError) {
        let text = connection ?? environmentValue("DATABASE_URL") ?? ""
        let parameters: ConnectionParameters
        do {
            parameters = try ConnectionString.parse(text)
        } catch {
            throw .configuration(error.message)
        }
        guard let configuration else {
            try self.init(parameters, LeaseConfiguration())
            return
        }
        try self.init(parameters, configuration)
    }

    /// libpq's keywords: `["host": "/run/pglease", "port": "6432", "dbname": "app"]`.
    public convenience init(
        keywords: KeyValuePairs<String, String>, configuration: LeaseConfiguration? = nil
    ) throws(LeaseError) {
        let parameters = keywords.map { (keyword: $0.key, value: $0.value) }
        guard let configuration else {
            try self.init(parameters, LeaseConfiguration())
            return
        }
        try self.init(parameters, configuration)
    }

    private init(
        _ given: ConnectionParameters, _ wanted: LeaseConfiguration
    ) throws(LeaseError) {
        var configuration = wanted
        var parameters: ConnectionParameters = []
        do {
            parameters = try ConnectionString.withDefaults(given)
        } catch {
            throw .configuration(error.message)
        }
        if let text = parameters.value(of: "connect_timeout"), let seconds = Int(text), seconds > 0
        {
            configuration.connectTimeout = .seconds(seconds)
        }
        if configuration.maximumConnections < 1 {
            throw .configuration("maximumConnections must be 1 or more")
        }
        if configuration.retry.attempts < 1 {
            throw .configuration("retry.attempts must be 1 or more")
        }
        if parameters.value(of: "application_name") == nil,
            parameters.value(of: "fallback_application_name") == nil
        {
            parameters.append(("fallback_application_name", ProgramName.current))
        }
        // Strings are UTF-8 here.
        parameters.append(("client_encoding", "UTF8"))
        local = ProcessLocal(ClientState(parameters, configuration)) { $0.renewedAfterFork() }
    }

    /// Closes the connections; those in use follow when their leases end. Callers that wait in this
    /// client, and all later ones, get ``LeaseError/Code/closed``.
    public func close() { state.close() }

    deinit { local.current.close() }

    // MARK: Leases

    /// Runs `body` with a lease of its own, on the calling thread, which it blocks.
    ///
    /// - Parameters:
    ///   - purpose: What it is for, as the broker's console and errors show it; `File.swift:12` when
    ///     none is given. At most 128 characters.
    ///   - wait: How long each attempt waits for a connection; zero is not at all.
    ///   - hold: The longest time that the lease may be kept; then the broker revokes it, and the
    ///     next call on the connection throws ``LeaseError/Code/revoked``.
    ///   - direct: Whether statements go straight to PostgreSQL.
    ///
    /// Throws ``LeaseError`` when there is no lease to have, tried as often as the retry policy
    /// says, and what `body` throws. `body` runs once at most. A transaction that it leaves open is
    /// rolled back.
    // Disfavoured, so that a closure without an `await` in async code takes the async form.
    @_disfavoredOverload
    @available(*, noasync, message: "use the async form, which does not block the thread")
    public func withLease<Result>(
        for purpose: String? = nil, wait: Duration? = nil, hold: Duration? = nil,
        direct: DirectUse? = nil, retry: RetryPolicy? = nil,
        fileID: String = #fileID, line: Int = #line,
        _ body: (LeaseConnection) throws -> Result
    ) throws -> Result {
        let state = self.state
        let request = try makeRequest(
            purpose ?? "\(fileID):\(line)", wait, hold, direct, thread: currentThreadID())
        let (slot, session) = try state.acquire(
            request, retry: retry ?? state.configuration.retry)
        let connection = LeaseConnection(session)
        defer {
            connection.session = nil
            let isReusable = session.endLease()
            // A child that was forked in `body` leaves the parent's books alone.
            if session.connection.processID == currentProcessID() {
                state.giveBack(slot, isReusable ? session : state.closing(session))
            }
        }
        return try body(connection)
    }

    /// Runs `body` with a lease of its own. Neither the calling thread nor any other of Swift's
    /// cooperative pool is blocked: what blocks runs on a thread that the lease has for itself.
    ///
    /// `body` runs in the caller's isolation. When the task is cancelled, it stops waiting for a
    /// lease, or the statement that runs is cancelled at the server; either throws
    /// `CancellationError`. Everything else is as in the blocking form.
    public nonisolated(nonsending) func withLease<Result>(
        for purpose: String? = nil, wait: Duration? = nil, hold: Duration? = nil,
        direct: DirectUse? = nil, retry: RetryPolicy? = nil,
        fileID: String = #fileID, line: Int = #line,
        _ body: nonisolated(nonsending) (AsyncLeaseConnection) async throws -> Result
    ) async throws -> Result {
        let state = self.state
        let request = try makeRequest(
            purpose ?? "\(fileID):\(line)", wait, hold, direct, thread: nil)
        let held = try await state.acquireAsync(
            request, retry: retry ?? state.configuration.retry)
        let connection = AsyncLeaseConnection(held.host, grant: held.grant)
        let result: Result
        do {
            result = try await body(connection)
        } catch {
            await state.giveBack(held)
            throw error
        }
        await state.giveBack(held)
        return result
    }

    private func makeRequest(
        _ purpose: String, _ wait: Duration?, _ hold: Duration?, _ direct: DirectUse?,
        thread: Int32?
    ) throws(LeaseError) -> AcquireRequest {
        let configuration = state.configuration
        return try AcquireRequest(
            purpose: purpose, wait: wait ?? configuration.wait, hold: hold ?? configuration.hold,
            direct: direct ?? configuration.direct, parks: state.parks, thread: thread
        ).checked()
    }
}

// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// How a ``LeaseClient`` behaves. `init()` reads the environment, where a value that makes no sense
/// is an error, never a default.
public struct LeaseConfiguration: Sendable {
    /// Broker connections at once, and so leases at once, of this client. More callers wait in
    /// line, within the same `wait` (two minutes when there is none). Each is opened when it is
    /// needed first and costs the broker about a kilobyte.
    public var maximumConnections: Int = 16
    public var retry: RetryPolicy
    public var direct: DirectUse
    public var parking: ParkingUse
    /// How long each attempt to get a lease may wait; nil is the broker's `query_wait_timeout`.
    /// `PGLEASE_LEASE_WAIT` (seconds).
    public var wait: Duration?
    /// The longest time that a lease may be kept before the broker revokes it; nil is the broker's
    /// `lease_timeout`.
    public var hold: Duration?
    /// A statement that takes longer is cancelled and throws ``LeaseError/Code/timedOut``; nil is
    /// for ever. Counted by the client, for each statement, batch of a stream or chunk of a COPY.
    public var statementTimeout: Duration?
    /// For a connection to the broker, unless the connection string has `connect_timeout`.
    public var connectTimeout: Duration = .seconds(10)
    /// How long an answer may take that should come at once: to a cancel request, to the return of a
    /// lease, and beyond `wait`. After it the connection is given up.
    var grace: Duration = .seconds(5)
    /// Takes notices and warnings, on whichever thread works with the connection.
    public var onNotice: (@Sendable (PostgresError) -> Void)?

    /// Reads `PGLEASE_LEASE_ATTEMPTS`, `PGLEASE_LEASE_DELAY`, `PGLEASE_LEASE_FACTOR`,
    /// `PGLEASE_LEASE_WAIT`, `PGLEASE_DIRECT` and `PGLEASE_PARK`.
    public init() throws(LeaseError) {
        retry = try RetryPolicy.fromEnvironment()
        direct = try DirectUse.fromEnvironment()
        parking = try ParkingUse.fromEnvironment()
        wait = try Environment.seconds("PGLEASE_LEASE_WAIT")
    }
}

/// Whether a lease's statements go straight to PostgreSQL.
public enum DirectUse: Equatable, Sendable {
    /// Over a Unix socket to the broker, when it allows; else through the broker's relay. Nothing
    /// else differs.
    case whenPossible
    /// Always through the broker.
    case never

    /// `PGLEASE_DIRECT=off`
    static func fromEnvironment() throws(LeaseError) -> DirectUse {
        try Environment.isOn("PGLEASE_DIRECT") ?? true ? .whenPossible : .never
    }
}

/// Whether a direct lease may lie parked between two uses, in this process: the next `withLease` goes on with it without a
/// word to the broker, which takes it when somebody else waits. Its session is then as the last lease left it (rolled back,
/// with its settings, temporary tables and prepared statements), as in a pool of the process's own; for every other
/// process it is clean.
public enum ParkingUse: Equatable, Sendable {
    /// Where the lease is direct and has no `hold`.
    case whenPossible
    /// Every lease begins with a clean session.
    case never

    /// `PGLEASE_PARK=on`
    static func fromEnvironment() throws(LeaseError) -> ParkingUse {
        try Environment.isOn("PGLEASE_PARK") ?? false ? .whenPossible : .never
    }
}

/// How often a lease is asked for when the broker is away or has no connection, and the pauses in
/// between: `delay`, `delay * factor`, `delay * factor * factor` … exactly, without jitter (the
/// broker's queue is fair, so callers need not be spread). What runs in a lease is never repeated.
public struct RetryPolicy: Equatable, Sendable {
    /// At least 1, which is: no retry.
    public var attempts: Int
    public var delay: Duration
    public var factor: Double

    public init(attempts: Int = 3, delay: Duration = .milliseconds(500), factor: Double = 2) {
        self.attempts = attempts
        self.delay = delay
        self.factor = factor
    }

    /// No second attempt.
    public static let once = RetryPolicy(attempts: 1)

    /// `PGLEASE_LEASE_ATTEMPTS`, `PGLEASE_LEASE_DELAY` (seconds), `PGLEASE_LEASE_FACTOR`.
    static func fromEnvironment() throws(LeaseError) -> RetryPolicy {
        var policy = RetryPolicy()
        if let text = environmentValue("PGLEASE_LEASE_ATTEMPTS") {
            guard let attempts = Int(text), attempts >= 1 else {
                throw .configuration("PGLEASE_LEASE_ATTEMPTS is \"\(text)\": use 1 or more")
            }
            policy.attempts = attempts
        }
        if let delay = try Environment.seconds("PGLEASE_LEASE_DELAY") { policy.delay = delay }
        if let text = environmentValue("PGLEASE_LEASE_FACTOR") {
            guard let factor = Double(text), factor >= 1, factor.isFinite else {
                throw .configuration("PGLEASE_LEASE_FACTOR is \"\(text)\": use 1 or more")
            }
            policy.factor = factor
        }
        return policy
    }

    /// Before the attempt with this number; the first retry is number 2.
    func pause(before attempt: Int) -> Duration {
        var pause = delay
        for _ in 2..<max(2, attempt) { pause = pause * factor }
        return pause
    }
}

/// Reads variables of the environment.
enum Environment {
    static func isOn(_ name: String) throws(LeaseError) -> Bool? {
        guard let text = environmentValue(name) else { return nil }
        switch text.lowercased() {
        case "on", "true", "yes", "1": return true
        case "off", "false", "no", "0": return false
        default: throw .configuration("\(name) is \"\(text)\": use on or off")
        }
    }

    static func seconds(_ name: String) throws(LeaseError) -> Duration? {
        guard let text = environmentValue(name) else { return nil }
        guard let seconds = Double(text), seconds >= 0, seconds <= 1_000_000 else {
            throw .configuration("\(name) is \"\(text)\": use a number of seconds")
        }
        return .milliseconds(Int64((seconds * 1000).rounded(.up)))
    }
}

extension Duration {
    static func * (duration: Duration, factor: Double) -> Duration {
        let (seconds, attoseconds) = duration.components
        let total = (Double(seconds) + Double(attoseconds) / 1e18) * factor
        // A pause beyond eleven days is a mistake in any case.
        return .milliseconds(Int64((min(total, 1_000_000) * 1000).rounded()))
    }
}

// SPDX-License-Identifier: Apache-2.0

/// Notices that a source shuts down and waits for this receiver.
///
/// A walsender that is told to end does so once everything it has sent is confirmed, and nothing in
/// the protocol says so: it asks for a status, and again as soon as it is answered. In a stream
/// that goes on it asks when it has heard nothing for half of its wal_sender_timeout. While a
/// destination is away nothing can be confirmed, so the shutdown of the source would wait for it.
struct ShutdownWatch: Sendable {
    /// Two questions that close to each other are of one row.
    private static let pause: Duration = .milliseconds(100)
    /// A row of that length is a shutdown.
    private static let patience: Duration = .seconds(1)
    private static let questions = 10

    private var confirmed = LogSequenceNumber.zero
    private var began: ContinuousClock.Instant?
    private var last: ContinuousClock.Instant?
    private var count = 0

    /// The source asks how far the receiver is, which is at `confirmed`. True: it shuts down, and
    /// nothing has been confirmed for a while.
    mutating func isAsked(
        confirmed: LogSequenceNumber, now: ContinuousClock.Instant
    ) -> Bool {
        let goesOn = last.map { $0.duration(to: now) <= Self.pause } ?? false
        if !goesOn || confirmed != self.confirmed {
            began = now
            count = 0
        }
        self.confirmed = confirmed
        last = now
        count += 1
        guard let began else { return false }
        return count >= Self.questions && began.duration(to: now) >= Self.patience
    }
}

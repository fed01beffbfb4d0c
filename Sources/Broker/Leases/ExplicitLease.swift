import LeaseCore
import PostgresWire

/// A LEASE statement of a client that has no answer yet.
final class LeaseCall {
    let terms: LeaseTerms
    let form: LeaseForm

    init(_ terms: LeaseTerms, _ form: LeaseForm) {
        self.terms = terms
        self.form = form
    }

    /// The client's thread as the scheduler knows it: the number, or one that stands for the text.
    var thread: UInt64? {
        terms.thread.map { text in
            UInt64(text)
                ?? text.utf8.reduce(14_695_981_039_346_656_037) {
                    ($0 ^ UInt64($1)) &* 1_099_511_628_211
                }
        }
    }
}

/// A lease that a client asked for by LEASE, for as long as it has it.
final class ExplicitLease {
    let terms: LeaseTerms
    /// When the client was told of it.
    var since: Instant

    init(_ terms: LeaseTerms, since: Instant) {
        self.terms = terms
        self.since = since
    }
}

extension ServerConnection {
    /// How the relay treats whoever holds it.
    var mode: RelayMode { explicit == nil ? pool.mode : pool.heldMode }
}

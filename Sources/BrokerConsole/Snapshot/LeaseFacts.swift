// SPDX-License-Identifier: Apache-2.0

package import LeaseCore
package import PostgresWire

/// A lease that is out.
package struct LeaseFacts {
    package var lease: LeaseID?
    package var serverProcess: Int32 = 0
    package var kind = ""
    package var database = ""
    package var user = ""
    package var group: String?
    package var applicationName: String?
    /// nil: it is gone, and what it left is brought to an end.
    package var client: ClientID?
    package var purpose: String?
    package var activity = ""
    package var transaction = TransactionStatus.idle
    package var since = Instant.zero
    package var waited = Duration.zero
    /// nil: something runs.
    package var idleSince: Instant?
    /// nil: it goes over a descriptor that was handed out, and is not seen.
    package var bytes: Int?
    package var transactions: Int?
    package var wasWarnedAbout = false
    /// Empty: it is not pinned.
    package var pinReasons: PinReasons = []
    package var owner = OwnerFacts()

    package init() {}
}

/// Which process a client is, as far as it can be known: nothing of those over TCP, nor of another PID namespace.
package struct OwnerFacts {
    package var process: Int64?
    package var userID: Int64?
    package var program: String?
    package var arguments: String?
    package var thread: String?
    package var address: String?

    package init() {}
}

/// A client that waits for a lease.
package struct WaiterFacts {
    package let summary: WaiterSummary
    package var database = ""
    package var user = ""
    package var group: String?
    package var applicationName: String?
    package var purpose: String?
    package var owner = OwnerFacts()

    package init(_ summary: WaiterSummary) { self.summary = summary }
}

/// A pool lock: leases that wait for each other.
package struct LockFacts {
    package let number: Int64
    package let summary: LockSummary
    package var database: String?
    package var user: String?
    package var group: String?
    package var grade = ""
    package var links: [LinkFacts] = []

    package init(_ number: Int64, _ summary: LockSummary) {
        self.number = number
        self.summary = summary
    }
}

/// One holder in a lock, and as whom it waits.
package struct LinkFacts {
    package let link: PoolLock.Link
    package var serverProcess: Int64?
    package var holderProcess: Int64?
    package var thread: String?
    package var applicationName: String?
    package var purpose: String?
    package var waiterPurpose: String?
    package var waiterSince: Instant?

    package init(_ link: PoolLock.Link) { self.link = link }
}

/// Something that happened of late.
package struct EventFacts {
    package let id: Int64
    package let time: UTCTime
    /// When it happened last: the same incident again is counted, not told again.
    package let last: Instant
    package let count: Int
    package var kind = ""
    package var level = ""
    package var database: String?
    package var user: String?
    package var group: String?
    package var applicationName: String?
    package var client: Int64?
    package var clientProcess: Int64?
    package var lease: Int64?
    package var message = ""

    package init(id: Int64, time: UTCTime, last: Instant, count: Int) {
        self.id = id
        self.time = time
        self.last = last
        self.count = count
    }
}

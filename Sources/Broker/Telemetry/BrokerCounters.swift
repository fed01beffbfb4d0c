// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// Events that are counted over the life of the broker.
struct BrokerCounters {
    var accepted = 0
    /// Those of them that began TLS.
    var encryptedClients = 0
    var loginFailures = 0
    var protocolErrors = 0
    var serverConnects = 0
    var retriedRequests = 0
    var cancels = 0
    var explicitLeases = 0
    /// Those of them that were direct.
    var directLeases = 0
    /// Those of them that their clients might park, and those that were taken where they lay.
    var parkableLeases = 0
    var reclaims = Tally<ReclaimCause>()

    /// Leases that were pinned, by each of the reasons they began with.
    var pins = Tally<PinCause>()

    mutating func count(pin reasons: PinReasons) {
        for cause in PinCause.of(reasons) { pins.count(cause) }
    }

    // What went wrong, by cause.

    /// Clients that were not let in.
    var refusals = Tally<RefusalCause>()
    /// Waiters that had an error instead of a lease.
    var rejectionsByCause = Tally<RejectionCause>()
    var revocationsByLimit = Tally<RevocationCause>()
    var connectFailures = Tally<ConnectFailureClass>()
    var serversLost = Tally<ServerLossCause>()
    var failovers = Tally<FailoverCause>()
    /// Pool locks that were noticed, and connections of reserves that were lent for them. Those who had
    /// 40P01 are rejections.
    var poolLocksByGrade = Tally<PoolLockGrade>()
    var reserveLent = 0
    /// Leases that were held for longer than `lease_warn_after`.
    var leakWarnings = 0
}

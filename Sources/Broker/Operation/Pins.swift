// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LeaseCore
import LibUV
import Logging
import PostgresWire

/// Leases that stay with their clients for what these have in the session, and clients that have no place for that.
extension Broker {
    func pinned(_ report: LeaseReport, _ reasons: PinReasons) {
        counters.count(pin: reasons)
        guard let client = report.client.flatMap({ clients[$0] }) else { return }
        logger.debug(
            "lease is pinned",
            metadata: describe(
                client, purpose: report.purpose,
                with: [
                    "lease.id": "\(report.lease.map { "\($0)" } ?? "")",
                    "reasons": "\(reasons.names)",
                ]))
        note(
            .leasePinned, .info,
            "lease is pinned by \(reasons.words) (\(reasons.names)), of \(name(of: client))",
            cause: reasons.names, client: client, lease: report.lease)
    }

    func unpinned(_ report: LeaseReport) {
        guard let client = report.client.flatMap({ clients[$0] }) else { return }
        logger.debug(
            "lease is pinned no more",
            metadata: describe(
                client, purpose: nil,
                with: ["lease.id": "\(report.lease.map { "\($0)" } ?? "")"]))
    }

    // MARK: Places

    func tellOfWait(_ id: ClientID, _ reasons: PinReasons, place: Int, waited: Duration) {
        guard let client = clients[id], let pool = client.pool, client.phase == .ready else {
            return
        }
        var bytes: [UInt8] = []
        bytes.appendNoticeResponse(
            PgError(
                severity: .notice, sqlState: .successfulCompletion,
                message:
                    "waiting for a server connection to keep for \(reasons.words) for \(Self.seconds(waited)), place \(place) in the queue",
                detail: pinHolders(of: pool),
                hint:
                    "query_wait_timeout ends the wait\(pool.limits.queryWait.map { " after " + Self.seconds($0) } ?? " never")."
            ))
        send(bytes, to: client)
    }

    /// The client may not pin its lease: its statement fails, or, where that was found afterwards, its session ends.
    func refusePlace(_ id: ClientID, _ refusal: PlaceRefusal) {
        guard let client = clients[id], let pool = client.pool else { return }
        counters.rejectionsByCause.count(.pinPlaces)
        let error = placeError(refusal, pool)
        note(
            .exhausted, .error, error.detail.map { "\(error.message). \($0)" } ?? error.message,
            cause: RejectionCause.pinPlaces.rawValue, client: client)
        if settings.logPoolerErrors {
            logger.warning(
                "lease is not pinned",
                metadata: describe(
                    client,
                    with: [
                        "sqlstate": "\(error.sqlState.rawValue)", "reason": "\(error.message)",
                        "reasons": "\(refusal.reasons.names)",
                        "waited_us": "\(refusal.waited?.wholeMicroseconds ?? 0)",
                    ]))
        }
        if refusal.waited == nil {
            engine.refuse(id, error, now: now)
        } else {
            engine.refusePlace(id, with: error, now: now)
        }
        dealWithNotices()
    }

    private func placeError(_ refusal: PlaceRefusal, _ pool: DatabasePool) -> PgError {
        let bound: String
        let raise: String
        switch refusal.bound {
        case .pool(let limit):
            let name = Self.oneLine("\"\(pool.database)\" (user \"\(pool.user)\")")
            bound =
                "Pool \(name) keeps at most \(limit) connections for single clients (pool_size less pin_reserve)."
            raise = "raise the pool's size, or lower pin_reserve"
        case .group(let limit):
            bound = "max_pins of this client's group is \(limit)."
            raise = "raise the group's max_pins"
        }
        guard let waited = refusal.waited else {
            return .fatal(
                .tooManyConnections,
                "this session has \(refusal.reasons.words), and there is no server connection to keep for it",
                detail: "\(bound)\n\(pinHolders(of: pool))",
                hint:
                    "Drop it before the transaction ends, use an explicit LEASE, or \(raise)."
            )
        }
        return .error(
            .tooManyConnections,
            "no server connection could be kept for \(refusal.reasons.words) within \(Self.seconds(waited))",
            detail:
                "\(bound) Waited \(Self.seconds(waited)) at place \(refusal.place) of \(refusal.waiting).\n\(pinHolders(of: pool))",
            hint: "Let the holders drop what pins their leases, or \(raise).")
    }

    /// Who keeps connections of this pool, for errors and notices: pinned leases only.
    private func pinHolders(of pool: DatabasePool) -> String {
        let now = now
        let pinned = servers.values.filter {
            $0.pool === pool && $0.isLeased && $0.client != nil && !$0.pinReasons.isEmpty
        }.sorted { $0.leaseSince < $1.leaseSince }
        guard !pinned.isEmpty else { return holders(of: pool) }
        let named = pinned.prefix(Self.holdersNamed).compactMap { holder($0, now) }
        return HolderList.line(named, more: pinned.count - named.count)
    }
}

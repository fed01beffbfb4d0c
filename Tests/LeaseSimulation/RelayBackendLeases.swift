// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import PostgresWire

/// What a broker in front of a backend adds to it: LEASE and LEASE RETURN, as the contract has them.
struct RelayBackendLeases {
    let pooling: RelayMode.Pooling
    var isHeld = false
    /// The client speaks to the server over its descriptor; here it speaks to the broker.
    var isDirect = false
    /// Prepared lease commands: their texts.
    var statements: [String: String] = [:]
    var portals: [String: String] = [:]
    /// The server has been sent messages whose Sync has not come.
    var isBatchOpen = false
    /// What was set when the lease began: it comes back with its end.
    private(set) var settingsBefore: (profile: String, followed: String, mark: String?)?

    mutating func begin(_ settings: (profile: String, followed: String, mark: String?)) {
        isHeld = true
        settingsBefore = settings
    }

    mutating func end() {
        isHeld = false
        isDirect = false
        settingsBefore = nil
    }

    init(_ pooling: RelayMode.Pooling) { self.pooling = pooling }

    static let direct = PgError.error(.objectNotInPrerequisite, "direct")
    static let refused = PgError.error(.syntaxError, "syntax error at or near \"ME\"")
    static let held = PgError.error(.objectNotInPrerequisite, "held")
    static let notHeld = PgError.error(.objectNotInPrerequisite, "not held")
    static let inTransaction = PgError.error(.activeSqlTransaction, "in a transaction")
    static let rolledBack = PgError(
        severity: .warning, sqlState: .activeSqlTransaction, message: "rolled back")
}

extension RelayBackend {
    /// True if the broker has dealt with it: no server sees it.
    mutating func takeForBroker(_ kind: FrontendKind, _ body: [UInt8]) -> Bool {
        if kind == .sync {
            leases!.portals = [:]
            leases!.isBatchOpen = false
            guard leases!.isDirect else { return false }
            isSkipping = false
            output.appendReadyForQuery(.idle)
            return true
        }
        if isSkipping { return false }
        let isOurs = isForBroker(kind, body)
        if isOurs, !leases!.isBatchOpen {
            carryOut(kind, body)
            return true
        }
        if leases!.isDirect { return refuseDirect(kind) }
        switch kind {
        case .query: leases!.isBatchOpen = false
        case .parse, .bind, .describe, .execute, .close: leases!.isBatchOpen = true
        default: break
        }
        return false
    }

    /// Whether it is about a lease command; a name that it gives away is one no more.
    private mutating func isForBroker(_ kind: FrontendKind, _ body: [UInt8]) -> Bool {
        let first = Self.string(body, 0)
        switch kind {
        case .query:
            leases!.statements[""] = nil
            if first == "deallocate all" || first == "discard all" { leases!.statements = [:] }
            return first.hasPrefix("LEASE")
        case .parse:
            leases!.statements[first] = nil
            return Self.string(body, 1).hasPrefix("LEASE")
        case .bind:
            if leases!.statements[Self.string(body, 1)] != nil { return true }
            leases!.portals[first] = nil
            return false
        case .describe, .close:
            let name = String(first.dropFirst())
            return body[0] == UInt8(ascii: "P")
                ? leases!.portals[name] != nil : leases!.statements[name] != nil
        case .execute: return leases!.portals[first] != nil
        default: return false
        }
    }

    private mutating func refuseDirect(_ kind: FrontendKind) -> Bool {
        switch kind {
        case .query:
            output.appendErrorResponse(RelayBackendLeases.direct)
            output.appendReadyForQuery(.idle)
        case .parse, .bind, .describe, .execute, .close: failBatch(RelayBackendLeases.direct)
        default: break
        }
        return true
    }

    private mutating func failBatch(_ error: PgError) {
        output.appendErrorResponse(error)
        isSkipping = true
    }

    private mutating func carryOut(_ kind: FrontendKind, _ body: [UInt8]) {
        let first = Self.string(body, 0)
        switch kind {
        case .query:
            prepared[""] = nil
            if let error = lease(first, isSimple: true) { output.appendErrorResponse(error) }
            output.appendReadyForQuery(status)
        case .parse:
            let text = Self.string(body, 1)
            if text == "LEASE ME" {
                failBatch(RelayBackendLeases.refused)
                return
            }
            prepared[first] = nil
            leases!.statements[first] = text
            output.appendParseComplete()
        case .bind:
            leases!.portals[first] = leases!.statements[Self.string(body, 1)]
            output.appendBindComplete()
        case .describe:
            let isPortal = body[0] == UInt8(ascii: "P")
            let name = String(first.dropFirst())
            if !isPortal { output.appendParameterDescription([]) }
            let text = (isPortal ? leases!.portals[name] : leases!.statements[name])!
            if text == "LEASE RETURN" {
                output.appendNoData()
            } else {
                output.appendRowDescription([ColumnDescription(name: "lease")])
            }
        case .execute:
            if let error = lease(leases!.portals[first]!, isSimple: false) { failBatch(error) }
        default:
            let name = String(first.dropFirst())
            if body[0] == UInt8(ascii: "P") {
                leases!.portals[name] = nil
            } else {
                leases!.statements[name] = nil
            }
            output.appendCloseComplete()
        }
    }

    mutating func endLease() {
        if leases!.pooling != .session {
            rollBack()
            if let settings = leases!.settingsBefore {
                mark = settings.mark
                profile = settings.profile
                followed = settings.followed
            }
        }
        leases!.end()
    }

    /// Acquires or returns; the error if it may not.
    private mutating func lease(_ text: String, isSimple: Bool) -> PgError? {
        let isSession = leases!.pooling == .session
        switch text {
        case "LEASE ME": return RelayBackendLeases.refused
        case "LEASE RETURN":
            guard leases!.isHeld else { return RelayBackendLeases.notHeld }
            if !isSession, status != .idle {
                output.appendNoticeResponse(RelayBackendLeases.rolledBack)
            }
            endLease()
        default:
            if leases!.isHeld { return RelayBackendLeases.held }
            if status != .idle { return RelayBackendLeases.inTransaction }
            leases!.begin((profile, followed, mark))
            leases!.isDirect = text.hasPrefix("LEASE DIRECT") && !isSession
            if isSimple { output.appendRowDescription([ColumnDescription(name: "lease")]) }
            output.appendDataRow(texts: ["lease"])
        }
        output.appendCommandComplete(text == "LEASE RETURN" ? text : "LEASE")
        return nil
    }
}

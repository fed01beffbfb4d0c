// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// The question that `pglease ping` asks with its startup packet, and the answer.
///
/// It comes before authentication, as pg_isready's does: who may log in is not asked. A PostgreSQL tells
/// that it does not know the extension (NegotiateProtocolVersion), so neither side is mistaken.
///
///     StartupMessage with _pq_.pglease_ping = 1
///     AuthenticationOk, ParameterStatus pglease_version, ParameterStatus pglease_state, ReadyForQuery; then it closes
package enum BrokerPing {
    package static let question = "_pq_.pglease_ping"
    static let versionName = "pglease_version"
    static let stateName = "pglease_state"
    static let readyState = "ready"

    /// What a broker says of itself.
    package struct Answer: Equatable, Sendable {
        package var version: String
        /// nil: it is ready. Else why not, as `/readyz` has it.
        package var reasonNotReady: String?

        package init(version: String, reasonNotReady: String?) {
            self.version = version
            self.reasonNotReady = reasonNotReady
        }
    }

    package static func append(_ answer: Answer, to bytes: inout [UInt8]) {
        bytes.appendAuthenticationOk()
        bytes.appendParameterStatus(name: versionName, value: answer.version)
        bytes.appendParameterStatus(
            name: stateName, value: answer.reasonNotReady ?? readyState)
        bytes.appendReadyForQuery(.idle)
    }
}

extension ProbeConnection {
    /// Asks whether a broker is ready; `.notBroker` when something else answers.
    package mutating func ping(user: String) throws(ProbeError) -> BrokerPing.Answer {
        var packet: [UInt8] = []
        packet.appendStartupMessage(
            parameters: [
                ("user", user), ("database", "pglease"), (BrokerPing.question, "1"),
            ])
        try send(packet)
        var version: String?
        var state: String?
        while true {
            let (kind, body) = try receive()
            switch kind {
            case .negotiateProtocolVersion:
                throw .notBroker(reason: "a PostgreSQL answers there, not a pglease broker")
            case .authentication where body == [0, 0, 0, 0]:
                continue
            case .parameterStatus:
                let parameter = body.withUnsafeBytes { ParameterStatusBody(body: $0) }
                if parameter?.name == BrokerPing.versionName { version = parameter?.value }
                if parameter?.name == BrokerPing.stateName { state = parameter?.value }
            case .readyForQuery:
                guard let version, let state else { throw Self.stranger }
                return BrokerPing.Answer(
                    version: version,
                    reasonNotReady: state == BrokerPing.readyState ? nil : state)
            case .errorResponse:
                let error = Self.error(body)
                guard Self.passingStates.contains(error.sqlState) else {
                    throw .notBroker(
                        reason: "what answers there is no pglease broker: \(error.message)")
                }
                throw .refused(error)
            case .authentication: throw Self.stranger
            case .noticeResponse, .backendKeyData: continue
            default: throw .notPostgres(reason: "message \(kind.rawValue) during the login")
            }
        }
    }

    private static var stranger: ProbeError {
        .notBroker(reason: "a PostgreSQL or another pooler answers there, not a pglease broker")
    }

    /// With these a broker turns a connection away before it has read the question.
    private static let passingStates: Set<SQLState> = [
        .tooManyConnections, .cannotConnectNow, .adminShutdown,
    ]
}

// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LibPQ
import LibUV
import OperatorTools

/// Whether direct leases are possible, and may be parked; or what keeps them from it.
struct DirectExam {
    private static let topic = "direct leases"
    private(set) var findings: [Finding] = []

    init(_ loaded: LoadedConfiguration, _ broker: BrokerExam, _ servers: ServerExam) {
        let settings = loaded.configuration.settings
        if settings.directLease == .off {
            findings.append(.ok(Self.topic, "direct_lease is off: all leases are relayed"))
            return
        }
        guard settings.unixSocketDir != nil else {
            findings.append(
                .warning(
                    Self.topic, "there is no Unix socket, over which a connection is handed out",
                    do: "set unix_socket_dir, or direct_lease = off"))
            return
        }
        let before = findings.count
        if servers.usesTLS {
            findings.append(
                .warning(
                    Self.topic,
                    "server connections with TLS are relayed: their keys are the broker's",
                    do:
                        "a PostgreSQL of this host is reached by its Unix socket; else direct_lease = off"
                ))
        }
        if settings.poolMode == .session {
            findings.append(.ok(Self.topic, "pool_mode is session: a session's lease is relayed"))
        }
        if broker.process == nil, broker.place?.host.hasPrefix("/") == true {
            findings.append(
                .warning(
                    Self.topic,
                    "the broker's process cannot be seen from here: another PID namespace",
                    do: "share it (shareProcessNamespace, --pid): else leases are relayed"))
        }
        if !KernelFeatures.hasProcessDescriptors {
            findings.append(
                .warning(
                    Self.topic, "pidfd_open is refused: the end of a holder is seen late",
                    do: "let the container's filter pass pidfd_open (Linux 5.3)"))
        }
        parking(settings)
        if findings.count == before {
            findings.append(.ok(Self.topic, "possible, and may be parked between uses"))
        }
    }

    private mutating func parking(_ settings: Settings) {
        guard settings.parkTimeout != nil else {
            findings.append(.ok(Self.topic, "park_timeout is 0: no lease is parked between uses"))
            return
        }
        if !KernelFeatures.hasBarriers || !ParkingPage.isPossible {
            findings.append(
                .warning(
                    Self.topic, "membarrier is refused: no lease is parked between uses",
                    do: "let the container's filter pass membarrier; all else works without"))
        }
    }
}

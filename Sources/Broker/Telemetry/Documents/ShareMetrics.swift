// SPDX-License-Identifier: Apache-2.0

import BrokerConsole
import LeaseCore
import StatusHTTP

/// Bounds that are shared with other hosts.
extension MetricsDocument {
    func addShares(to text: inout MetricsText) {
        guard !snapshot.shares.isEmpty else { return }
        for (name, help, value) in Self.figures {
            text.begin("pglease_share_\(name)", .gauge, help)
            for share in snapshot.shares {
                guard let value = value(share) else { continue }
                text.sample(
                    MetricLabels(["bound": share.bound, "database": share.database]), value)
            }
        }
    }

    private static let figures: [(String, String, @Sendable (ShareFacts) -> Int?)] = [
        ("total", "Server connections that all hosts together may have.", { $0.answer?.total }),
        ("connections", "Server connections that this host may have.", { $0.answer?.share }),
        ("target", "Server connections that this host is due.", { $0.answer?.target }),
        ("used", "Server connections that this host has.", { $0.need.used }),
        ("want", "Server connections that this host could use.", { $0.need.want }),
        ("hosts", "Hosts that asked lately.", { $0.answer?.hosts }),
        ("free", "Server connections that no host has.", { $0.answer?.free }),
        ("failing", "1 while the table cannot be asked.", { $0.state == .failing ? 1 : 0 }),
    ]
}

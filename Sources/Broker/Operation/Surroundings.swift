// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import LibUV

/// Who started the broker, and what it was given.
struct Surroundings {
    let notify: ServiceNotifier?
    /// Listening sockets from systemd.
    let adoptedSockets: [Int32]
    /// Has the log follow settings that are about to be in force.
    let followLog: (Settings) throws(LogTargetError) -> Void
    /// Called on the loop once clients are accepted, with where.
    let onReady: (BrokerAddress) -> Void
    /// Its PostgreSQL ends with it.
    let isEmbedded: Bool
    /// Whose place it takes; nil once the two speak with each other.
    var predecessor: Predecessor?
    /// Listening sockets from systemd at which figures are served; used where `metrics_listen` says so.
    let adoptedMetrics: HandedSockets
    /// The broker before it had its sockets from systemd.
    var hasAdopted = false
    /// How often systemd wants to hear of it; nil: not at all, or not yet.
    var watchdogInterval: Duration?
}

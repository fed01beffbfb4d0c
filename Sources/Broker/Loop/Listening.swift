// SPDX-License-Identifier: Apache-2.0

import LibUV

/// What the loop listens to besides its clients and servers.
struct Listening {
    var listeners: [Listener] = []
    var signals: [SignalWatcher] = []
    /// Of open files.
    var descriptorLimit = 0

    /// Idempotent.
    mutating func closeListeners() {
        for listener in listeners { listener.close() }
        listeners = []
    }

    mutating func closeSignals() {
        for signal in signals { signal.close() }
        signals = []
    }
}

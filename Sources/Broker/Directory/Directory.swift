// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// Who is there, by name and by number.
struct Directory {
    var pools = PoolDirectory()
    var groups = GroupDirectory()
    var processes = ProcessDirectory()
    var cancelKeys = CancelKeys()
    var clientCounts = ClientCounts()
    /// When pools without clients are looked at.
    var idlePoolsDue: Instant?
    var policyNumbers = PolicyNumbers()
    var places: [ServerPlace.Key: ServerPlace] = [:]
}

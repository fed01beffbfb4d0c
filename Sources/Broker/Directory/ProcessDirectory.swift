// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibUV

/// Processes of clients, as long as they have sessions.
///
/// Invariant: what is found by its identity has not ended, as far as is known. Numbers are never used again.
struct ProcessDirectory {
    private var byIdentity: [ProcessIdentity: ClientProcess] = [:]
    private var last: UInt32 = 0
    /// Those of which only an attempt to watch them told that they have ended.
    var lost: [ClientProcess] = []

    subscript(identity: ProcessIdentity) -> ClientProcess? { byIdentity[identity] }

    mutating func open(
        _ processID: Int32, _ identity: ProcessIdentity?, now: Instant
    ) -> ClientProcess {
        last += 1
        let process = ClientProcess(
            id: PeerID(last), processID: processID, identity: identity, now: now)
        if let identity { byIdentity[identity] = process }
        return process
    }

    /// A session that comes from here on is another process's.
    mutating func forgetIdentity(of process: ClientProcess) {
        if let identity = process.identity, byIdentity[identity] === process {
            byIdentity[identity] = nil
        }
    }
}

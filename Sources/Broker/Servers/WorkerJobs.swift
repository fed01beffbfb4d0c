// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibPQ

/// What worker threads do for the loop, and what waits for them.
struct WorkerJobs {
    var lookups = NameLookups()
    var processLooks = ProcessLooks()
    var proofs = ServerProofs()
    var passwords = ServerPasswords()
    var proofsOfClients = ClientProofs()
    var absentDirectories = AbsentDirectories()
    var queries = AuthenticationQueries()
    var userNames = UserNames()
    /// Of servers that are gone, and whose cancel request still waits for its turn.
    var cancelsBeyondTheEnd: [ServerID: CancelHandle] = [:]
}

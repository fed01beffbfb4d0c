// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// A client of the run: what it does, what it was told, and what may rightly happen to it.
final class EngineClient {
    let index: Int
    /// Of the run's pools.
    let pool: Int
    let zone: String
    let peer: PeerID
    var program: RelayProgram
    var id: ClientID
    let socket: ClientSocket
    var isLoggedIn = false
    /// Its session is over, or it has left.
    var isGone = false
    /// It said goodbye, or ended its writing side, and reads to the end.
    var isLeaving = false
    /// Behind its last bytes it ends its writing side.
    var endsWriting = false

    // What it does.
    var group: RelayProgram.Group?
    var part = 0
    /// The number of its tokens when the group began.
    var tokensBefore = 0
    var unsent: [UInt8] = []
    var sent: [UInt8] = []
    var received: [UInt8] = []
    var thinksUntil = Instant.zero
    /// The group may show the server's defaults: it resets the session in the middle.
    var resetsInGroup = false
    /// It did so, and will be told with its next lease what is in force.
    var hasReset = false
    /// What it parsed behind that in the same flight means what the server's defaults make of it.
    var everReset = false

    // What it may rightly be told.
    /// SQLSTATEs of incidents that the run knows of.
    private(set) var licences: Set<String> = []
    /// Those from before the group began.
    private var olderLicences: Set<String> = []
    /// The engine may end its session.
    var mayEnd = false
    var sawFault = false
    var everSawFault = false
    /// The TimeZone that it was told last.
    var toldZone: String

    /// It was sent away, and had had its incidents before.
    var wasSentAway = false
    var sawFaultBefore = false

    /// It vanished: what its bytes may have committed.
    var mayHaveCommitted: Set<String>?

    /// It has put its token in, and uses nothing until it has it back.
    var isParked = false

    // Without the broker.
    var directly = 0
    var directlyRead: [UInt8] = []

    init(
        index: Int, pool: Int, zone: String, peer: PeerID, program: RelayProgram, id: ClientID,
        socket: ClientSocket
    ) {
        self.index = index
        self.pool = pool
        self.zone = zone
        self.peer = peer
        self.program = program
        self.id = id
        self.socket = socket
        toldZone = zone
    }

    /// It may be told of this, at once or with its next group.
    func expect(_ states: Set<String>) {
        licences.formUnion(states)
        olderLicences.subtract(states)
    }

    /// It has no use for what it had directly any more.
    func closeDescriptor() {
        socket.descriptor?.descriptorOf = nil
        socket.descriptor = nil
        socket.isParkable = false
    }

    func beginsGroup() { olderLicences = licences }

    /// It was told of nothing, so there was nothing to be told from before. A cancel may come at any time.
    func endsGroupWithoutIncident() { licences.subtract(olderLicences.subtracting(["57014"])) }
}

// SPDX-License-Identifier: Apache-2.0

import LeaseCore

/// One step of somebody's.
enum ParkingStep: Hashable {
    case ask(Int)
    case readAnswer(Int)
    case begin(Int)
    case lookAtPage(Int)
    case park(Int)
    case lookAgain(Int)
    case takeBack(Int)
    case lookAtTaken(Int)
    case letLie(Int)
    case ring(Int)
    case giveBack(Int)
    case die(Int)
    case useWhatIsParked(Int)
    case parkWhatIsUsed(Int)
    case brokerReads(Int)
    case brokerHearsBell(Int)
    /// The next step is the broker's, and this worker takes so many steps on its page in this pause of it.
    case meanwhile(Int, pause: Int, steps: Int)
    case processEnds(Int)
    case serverAnswers
    case timeComes

    var isOfBroker: Bool {
        switch self {
        case .brokerReads, .brokerHearsBell, .serverAnswers, .processEnds: true
        default: false
        }
    }
}

/// A worker of the exploration, with what it believes.
final class ParkingWorker {
    enum Belief: String {
        case nothing, asking, using, mayPark, mustReturn, returning, dead
        /// The token is in, and the page is not looked at yet; then it lies there.
        case hasParked, parked
        /// The token is out, and the page is not looked at yet; it said no, and the token is in again.
        case hasTaken, mustLetLie, hasLetLie
        /// Parked, and to be said.
        case mustRing
    }

    let id: ClientID
    let socket = ClientSocket(capacity: 1 << 20)
    let peer: PeerID
    var belief = Belief.nothing
    var movesLeft: Int
    var inTransaction = false
    var hasLied = false
    var hasEnded = false
    var server: ServerSocket?

    init(id: ClientID, peer: PeerID, moves: Int) {
        self.id = id
        self.peer = peer
        movesLeft = moves
    }

    /// Its next step on its page, if it has one.
    func pageStep(_ index: Int) -> ParkingStep? {
        switch belief {
        case .using: socket.isParkable && movesLeft > 0 ? .lookAtPage(index) : nil
        case .mayPark: .park(index)
        case .hasParked: .lookAgain(index)
        case .parked: movesLeft > 0 ? .takeBack(index) : nil
        case .hasTaken: .lookAtTaken(index)
        case .mustLetLie: .letLie(index)
        case .hasLetLie, .mustRing: .ring(index)
        case .nothing, .asking, .mustReturn, .returning, .dead: nil
        }
    }

    /// It has the connection, if it is honest.
    var owns: Bool { belief == .using || belief == .mayPark || belief == .mustReturn }

    /// It believes that it may have it back.
    var hasPlace: Bool {
        switch belief {
        case .hasParked, .parked, .hasTaken, .mustRing: true
        default: false
        }
    }

    /// A step on its page, as docs/parked.md has them.
    func take(_ step: ParkingStep) {
        switch step {
        case .lookAtPage: belief = socket.saysMayPark ? .mayPark : .mustReturn
        case .park:
            movesLeft -= 1
            socket.isTokenIn = true
            belief = .hasParked
        case .lookAgain: belief = socket.saysMayPark ? .parked : .mustRing
        case .takeBack:
            movesLeft -= 1
            socket.isTokenIn = false
            belief = .hasTaken
        case .lookAtTaken: belief = socket.saysMayPark ? .using : .mustLetLie
        case .letLie:
            socket.isTokenIn = true
            belief = .hasLetLie
        case .ring:
            socket.isBellRung = true
            if belief == .mustRing {
                belief = .parked
                return
            }
            belief = .nothing
            inTransaction = false
            socket.descriptor = nil
            socket.isParkable = false
        default: preconditionFailure("no step on a page: \(step)")
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import LibPQ

/// A direct lease that goes on from one use of its connection to the next, in one process.
struct Parking {
    /// Of this session with the broker, once it has one.
    private(set) var page: ParkingPage?
    /// Of the present lease: the broker lets it be parked.
    private(set) var isPossible = false
    fileprivate(set) var isParked = false
    fileprivate var grant: LeaseGrant?
    fileprivate var looked = ContinuousClock.now

    /// A direct lease began, with a page if it may be parked.
    mutating func began(_ fresh: ParkingPage?) {
        isPossible = fresh != nil
        // Further descriptors of the same two.
        if page == nil { page = fresh }
    }

    fileprivate mutating func isOver() {
        isPossible = false
        isParked = false
        grant = nil
    }
}

/// Parking a lease and going on with it.
extension Session {
    /// Between two looks at the broker's session: one that has ended is not to leave its connections here.
    private static var lookEvery: Duration { .seconds(1) }

    /// At the end of a use, with everything ended and rolled back. False: the lease must be returned.
    func park() -> Bool {
        guard let grant, grant.kind == .direct, parking.isPossible, fault == nil,
            let page = parking.page, page.mayPark
        else {
            parking.isOver()
            return false
        }
        let now = ContinuousClock.now
        if parking.looked.duration(to: now) > Self.lookEvery {
            parking.looked = now
            guard connection.isBrokerSilent else {
                parking.isOver()
                return false
            }
        }
        // Nothing of this use may hit the next one, whoever's that is.
        finishCancelRequest()
        guard fault == nil else {
            parking.isOver()
            return false
        }
        parking.grant = grant
        parking.isParked = true
        page.park()
        return true
    }

    /// Takes what lies parked here, if it is still there. False: nothing does, or it does not serve this request, and the
    /// session is one without a lease. Nothing may be read or sent before: what lies parked may be the broker's by now.
    func takeParked(_ command: LeaseWording, _ interruption: Interruption) throws -> Bool {
        guard parking.isParked, let page = parking.page, var again = parking.grant else {
            return false
        }
        parking.isParked = false
        // One that PostgreSQL has ended is left where it lies: the broker finds that out there, and nobody has used it.
        guard connection.serverLives else {
            leaveSession()
            return false
        }
        sayUse(command)
        guard page.take() else {
            leaveSession()
            return false
        }
        guard command.parks, command.hold == nil else {
            leaveSession()
            try giveBack(interruption)
            return false
        }
        again.waited = .zero
        grant = again
        return true
    }

    /// On the page, where the lease may be parked: who uses it from now on, and for what. Said before the token is out:
    /// the broker may read it in that moment.
    private func sayUse(_ command: LeaseWording) {
        parking.page?.say(
            thread: command.thread.map(String.init) ?? "", purpose: command.purpose ?? "")
    }

    /// Where the lease may be parked, the broker has written both with its answer.
    func brokerSaidUse(_ command: LeaseWording) {
        guard parking.isPossible else { return }
        parking.page?.hasSaid(
            thread: command.thread.map(String.init) ?? "", purpose: command.purpose ?? "")
    }

    /// The server's session is another's, or will be.
    private func leaveSession() {
        connection.leaveDirect()
        parking.isOver()
        preparedStatements = 0
    }
}

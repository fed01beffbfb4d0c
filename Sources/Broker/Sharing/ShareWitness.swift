// SPDX-License-Identifier: Apache-2.0

import LeaseCore
import LibPQ
import LibUV

/// A broker that has no connection under a bound would not notice that PostgreSQL was started anew, and that what it was
/// told is void. It keeps the connection that asked until the first of its own stands.
extension Broker {
    /// Whether one that is being opened, or stands now, may be to another PostgreSQL than the one that answered.
    func mayBeAnother(_ pool: DatabasePool) -> Bool {
        guard let bound = sharedBound(of: pool) else { return false }
        let place = Int(sharing.bounds.key(of: bound))
        guard let witness = sharing.bounds.all[place].witness, !witness.isAlive else {
            return false
        }
        connectionLost(in: pool)
        return true
    }

    func keep(_ witness: BlockingConnection, _ place: Int, isAwaited: Bool, _ now: Instant) {
        guard isAwaited, now < sharing.bounds.all[place].machine.allowance.alone else {
            end(witness)
            return
        }
        sharing.bounds.all[place].witness = witness
        if !witness.isAlive { voidShare(place) }
    }

    /// After an answer, and after each attempt to connect: whether the witness is needed, or there should be one.
    func lookAgain(_ place: Int, _ now: Instant) {
        let bound = sharing.bounds.all[place]
        let isAlone = bound.witness != nil || bound.need.open == 0
        housekeeping(by: isAlone ? now : bound.machine.deadline)
    }

    /// It is not needed any more, or tells that PostgreSQL has gone.
    func lookAtWitness(_ place: Int, _ need: ShareNeed, _ now: Instant) {
        guard let witness = sharing.bounds.all[place].witness else { return }
        if !witness.isAlive {
            voidShare(place)
        } else if need.open > 0 {
            dismissWitness(place)
            allow(place)
        } else if need.used == 0 || sharing.bounds.all[place].machine.aloneUntil <= now {
            // Its place is for others: nothing is being opened, or not in time.
            voidShare(place, keepsPace: true)
        } else {
            housekeeping(by: sharing.bounds.all[place].machine.aloneUntil)
        }
    }

    func dismissWitness(_ place: Int) {
        guard let witness = sharing.bounds.all[place].witness else { return }
        sharing.bounds.all[place].witness = nil
        sharing.bounds.all[place].machine.dismissWitness()
        end(witness)
    }

    /// Elsewhere: the end of the other side is waited for.
    func end(_ witness: BlockingConnection) {
        do throws(UVError) {
            try loop.submit(
                { witness.closeAndWait(Patience(until: ContinuousClock.now + .seconds(2))) },
                then: { _ in })
        } catch {
            witness.close()
        }
    }
}

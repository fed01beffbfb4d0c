// SPDX-License-Identifier: Apache-2.0

import DequeModule
import PostgresWire

/// What one client of a transaction pool listens to, or is about to; and what waits to be told to it.
///
/// Only clients that have shown a LISTEN have one. Between two leases nothing but `channels` is held.
package final class ClientListening {
    /// Messages of the client's that wait for the hub: then the one in front passes.
    enum Gate {
        case open
        /// The turn has come to a message that may make a LISTEN effective.
        case wanted
        case waiting
        case passed
        case refused(PgError)
    }

    /// A ReadyForQuery of the server's that waits until the hub has told what was committed before it.
    enum Ready {
        case open, wanted, waiting, passed
    }

    /// Channels that it listens to, and those whose LISTEN is on its way, as the pool's table numbers them.
    var channels: [ChannelNumber] = []
    var announced: [ChannelNumber] = []
    /// What its server was found to listen to, until the hub does.
    var found: [[UInt8]] = []
    var log = ListenLog()
    /// For each answer that is about listening: its statements.
    var expected: Deque<[ListenStatement]> = []
    /// What was committed, for the engine to take.
    var resolved: [ListenStatement] = []
    /// What was bound last, and under which portal.
    var bound: (portal: [UInt8], statement: ListenStatement)?
    var gate = Gate.open
    /// The message in front waits until what was sent before it is answered.
    var awaitsAnswers = false
    /// What the message at the gate may begin to listen to.
    var wanted: [[UInt8]] = []
    var ready = Ready.open
    /// Its server's connection becomes the hub's when its lease ends (`PoolHub.founder`): until then the server itself
    /// tells what is notified. What the client is told as its own process, and what its server calls itself.
    var founding: (told: Int32, backend: Int32)?
    /// In this lease what its server notifies is known to be the client's own.
    var ownLease: LeaseID?
    var awaitsOwnLease = false
    /// A message waits for the hub no longer than that.
    var deadline: Instant?
    var inbox = Inbox()
    /// Who listens for it, once it has asked.
    var hub: PoolHub?
    /// Named statements may be about listening: it is kept.
    var hasPrepared = false
    /// The same where names pass as they are, and nobody keeps their texts.
    var named: [[UInt8]: ListenStatement] = [:]

    init() {}

    /// A transaction may change, or have changed, what it listens to.
    var isInvolved: Bool { !log.isEmpty || !expected.isEmpty }

    var isListening: Bool { !channels.isEmpty }

    /// It listens, or does once its LISTEN, which goes out next, is done: a NOTIFY may follow in the same write.
    var willListen: Bool {
        if case .passed = gate { return true }
        return isListening
    }

    /// Every text of its may change what it listens to.
    var isTouched: Bool { isInvolved || isListening }

    /// Nothing is left: the client is as one that never listened.
    var isIdle: Bool {
        channels.isEmpty && announced.isEmpty && !isInvolved && resolved.isEmpty && bound == nil
            && inbox.isEmpty && !hasPrepared && founding == nil
    }

    // MARK: Told by the relay

    /// A statement of an answer that is about listening was done, with this tag.
    func completed(_ tag: UnsafeRawBufferPointer) {
        guard !expected.isEmpty, !expected[0].isEmpty else { return }
        let statement = expected[0].removeFirst()
        switch CommandTagKind.of(tag) {
        case .commit: committed()
        case .discardAll: log.note(.unlistenAll)
        case .rollback:
            if case .rollbackTo = statement { log.note(statement) } else { rolledBack() }
        default: log.note(statement)
        }
    }

    /// An answer that is about listening is complete.
    func answered() { if !expected.isEmpty { expected.removeFirst() } }

    func committed() { resolved += log.end(isCommitted: true) }

    func rolledBack() { _ = log.end(isCommitted: false) }

    /// Answers that will not come; the first `kept` of those that are about listening will.
    func drop(_ count: Int, behind kept: Int) {
        expected.removeSubrange(kept..<min(expected.count, kept + count))
    }

    /// Its server is gone, or is another's: nothing more will be committed there.
    func leaveServer() {
        expected.removeAll()
        rolledBack()
        bound = nil
        found = []
        ready = .open
        founding = nil
        awaitsAnswers = false
        ownLease = nil
        awaitsOwnLease = false
    }
}

/// Notifications that wait for the end of a transaction.
struct Inbox {
    struct Entry {
        /// nil: a warning of the broker's, which is told in any case.
        let channel: ChannelNumber?
        let message: [UInt8]
    }

    private(set) var entries: [Entry] = []
    private(set) var bytes = 0
    /// How many had no room.
    private(set) var lost = 0

    var isEmpty: Bool { entries.isEmpty && lost == 0 }

    mutating func add(_ message: [UInt8], of channel: ChannelNumber?, limit: Int) {
        guard bytes + message.count <= limit || channel == nil else {
            lost += 1
            return
        }
        entries.append(Entry(channel: channel, message: message))
        bytes += message.count
    }

    /// What a LISTEN that is on its way has gathered was sent before it.
    mutating func drop(_ channels: [ChannelNumber]) {
        guard !entries.isEmpty, !channels.isEmpty else { return }
        entries.removeAll { entry in
            guard let channel = entry.channel, channels.contains(channel) else { return false }
            bytes -= entry.message.count
            return true
        }
    }

    mutating func takeAll() -> (entries: [Entry], lost: Int) {
        defer { self = Inbox() }
        return (entries, lost)
    }
}

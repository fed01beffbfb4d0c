// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What a transaction has changed of what its session listens to, while it may still be rolled back.
///
/// PostgreSQL does what LISTEN and UNLISTEN say when the transaction commits, in their order, but for those that a
/// ROLLBACK TO has taken back.
struct ListenLog {
    private(set) var entries: [ListenStatement] = []
    /// A transaction was rolled back by a statement of which no more is known.
    private var mayBeRolledBack = false

    var isEmpty: Bool { entries.isEmpty }

    /// Channels that it would listen to.
    var channels: [[UInt8]] { entries.compactMap(\.channel) }

    /// The server has done this.
    mutating func note(_ statement: ListenStatement) {
        switch statement {
        case .listen, .unlisten, .unlistenAll:
            entries.append(statement)
        case .savepoint:
            // One in front of everything takes everything back: none is as good.
            if !entries.isEmpty { entries.append(statement) }
        case .rollbackTo(let name):
            if let place = entries.lastIndex(of: .savepoint(name)) {
                entries.removeSubrange((place + 1)...)
            } else {
                entries.removeAll()
            }
        case .release(let name):
            guard let place = entries.lastIndex(of: .savepoint(name)) else { return }
            var kept = entries[..<place]
            kept += entries[place...].filter(\.isAboutChannels)
            entries = Array(kept)
        case .commit, .rollback, .other:
            break
        }
    }

    /// A ROLLBACK of which it is not known whether it goes to a savepoint.
    mutating func noteRollback() { mayBeRolledBack = true }

    /// The server is ready, in a transaction: it was one to a savepoint.
    mutating func goesOn() { mayBeRolledBack = false }

    /// The transaction is over: what holds for good now.
    mutating func end(isCommitted: Bool) -> [ListenStatement] {
        let holds = isCommitted && !mayBeRolledBack
        mayBeRolledBack = false
        return exchange(&entries, with: []).filter { holds && $0.isAboutChannels }
    }
}

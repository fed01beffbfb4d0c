// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What a session has drawn from sequences (`currval`, `lastval`) is its client's own, or nothing.
///
/// Texts that ask for it are few, and what draws from a sequence shows in no text (a default, a trigger). So it is
/// whoever asks that pays: before the first of it, and at the beginning of each later lease in a pool where
/// anybody asks, `DISCARD SEQUENCES` takes away what the connection has of another lease.
extension ClientTurn {
    /// Whether the text, which calls functions in doubt, stays where it is until the engine has looked whose sequences
    /// these are.
    func awaitsSequences(_ server: inout ServerStream) -> Bool {
        if server.sequences == .seenTo {
            server.sequences = .unasked
            return false
        }
        server.sequences = .asked
        return true
    }
}

extension ServerStream {
    /// One more text of the broker's own, behind those that wait to be sent.
    mutating func askBesides(_ sql: String, into bytes: inout [UInt8]) {
        precondition(brokerQuery == .profile, "nothing waits that this could go with")
        brokerTexts.count += 1
        push(Outstanding(.query, .broker))
        bytes.appendQuery(sql)
    }
}

extension Engine {
    /// A text of the client's may ask what its session has drawn from sequences. Nothing of this lease has gone out if
    /// `isFirst`.
    mutating func seeToSequences(of client: ClientID, isFirst: Bool) {
        guard let server = clients[client].server else { return }
        servers[server].stream.sequences = .seenTo
        noteReaders(server)
        guard isFirst, !servers[server].hasSent, servers[server].profile.first == .nothing,
            hasSequencesOfOthers(server, client)
        else { return }
        servers[server].profile.first = .dropsSequences
        if servers[server].stream.brokerQuery == nil {
            preparePrelude(server, client)
        } else {
            var bytes: [UInt8] = []
            servers[server].stream.askBesides(Self.dropSequences, into: &bytes)
            servers[server].prelude += bytes
        }
    }

    /// From now on each lease begins with its client's own.
    func noteReaders(_ server: ServerID) {
        let pool = pools.address(of: servers[server].pool)
        if pool.pointee.functions.hasReaders { pool.pointee.care.formUnion(.sequences) }
    }

    /// What is to be taken away before this lease, of a client that is not the last one's.
    @inline(never)
    mutating func careAtGrant(_ server: ServerID, _ client: ClientID) {
        let care = pools[servers[server].pool].care
        let isStrict =
            care.contains(.isolation)
            || care.contains(.asSettingsSay) && settings.isolation == .strict
        if isStrict, let last = servers[server].lastClient, last != client {
            servers[server].profile.first = .cleans
        } else if care.contains(.sequences) || clients[client].call != nil,
            hasSequencesOfOthers(server, client)
        {
            servers[server].profile.first = .dropsSequences
        }
    }

    /// Whether the connection may have drawn from sequences for somebody else, or this client has elsewhere since it did
    /// here.
    func hasSequencesOfOthers(_ server: ServerID, _ client: ClientID) -> Bool {
        guard let last = servers[server].lastClient else { return false }
        return last != client
            || clients[client].moments.detachedAt > servers[server].moments.lastUsed
    }

    static var dropSequences: String { "DISCARD SEQUENCES" }
}

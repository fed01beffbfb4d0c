// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What nearly all traffic is, in one go: a simple query that leaves nothing behind, and an answer of which nothing is to
/// be noted. Everything here is what `relay` would make of the same bytes; what is not plain is left to it untouched.
extension Engine {
    /// True if these bytes were one whole simple query, and have gone to a server; else `relay` is to look at them. A
    /// lease may have been asked for.
    @inline(__always)
    mutating func relayPlainQuery(
        _ bytes: UnsafeRawBufferPointer, from client: ClientID,
        _ session: UnsafeMutablePointer<ClientSession>, _ number: PoolSlot
    ) -> Bool {
        guard bytes.count > MessageHeader.size, bytes[0] == FrontendKind.query.rawValue else {
            return false
        }
        let length = bytes.count - MessageHeader.size
        let pool = pools.address(of: number)
        guard MessageHeader(bytes, at: 0).bodyLength == length, length <= ClientTurn.scanLimit,
            length <= pool.pointee.mode.maxMessageSize, pool.pointee.mode.pooling != .session,
            session.pointee.isPlainlyServed, session.pointee.stream.isPlain,
            bytes[bytes.count - 1] == 0
        else { return false }
        let text = UnsafeRawBufferPointer(
            rebasing: bytes[MessageHeader.size..<bytes.count - 1])
        var calls = false
        guard PlainText.isOneStatement(text, calls: &calls) || PlainText.isBoundary(text), !calls
        else { return false }
        assert(!LeaseCommand.mayBegin(text), "a lease command counts as plain")
        if session.pointee.server == nil { requestLease(client) }
        guard let server = session.pointee.server else { return false }
        let held = servers.address(of: server)
        guard held.pointee.mayBeSent, held.pointee.prelude.isEmpty, !held.pointee.isDirect,
            session.pointee.isPlainlyServed,
            held.pointee.stream.takesPlainQuery
        else { return false }
        let isFirst = !held.pointee.hasSent && !held.pointee.isExplicit
        held.pointee.stream.hasUnnamed = false
        held.pointee.stream.push(Outstanding(.query, .client))
        session.pointee.stream.passing = PassingMessage()
        held.pointee.noteSending(now)
        session.pointee.request.lossesInSetup = 0
        if pool.pointee.areLeasesWatched { noteWork(server) }
        if send(bytes, to: server) { return true }
        if isFirst {
            // The same bytes are to be tried again.
            retry(client, after: server, session.pointee.stream.position)
            return false
        }
        serverEnded(server, "the server closed the connection")
        return true
    }

    /// True if these bytes were a plain answer, and have gone to the client.
    @inline(__always)
    mutating func relayPlainAnswer(
        _ bytes: UnsafeRawBufferPointer, from server: ServerID,
        _ held: UnsafeMutablePointer<ServerSession>, to client: ClientID
    ) -> Bool {
        let pool = pools.address(of: held.pointee.pool)
        let answer = held.pointee.stream.takePlainAnswer(
            bytes,
            mayStayOpen: pool.pointee.mode.pooling != .statement || held.pointee.isExplicit,
            statements: &statements)
        guard answer.queries > 0 else { return false }
        let session = clients.address(of: client)
        held.pointee.holding.bytes += bytes.count
        session.pointee.moments.lastActivity = now
        send(bytes, to: client)
        // It has gone on since.
        if held.pointee.fatal != nil { held.pointee.fatal = nil }
        count(queries: answer.queries, transactions: answer.transactions, held, pool)
        // What `noteForClient` might have to do.
        let isTold =
            held.pointee.resets == nil && !session.pointee.flags.awaitsQuiet
            && session.pointee.request.call == nil
            && session.pointee.settings.told === held.pointee.profile.parameters
        if isTold || !noteForClient(ServerStep(), server, client) {
            endLeaseIfOver(server, held)
            if pool.pointee.areLeasesWatched, servers.contains(server) { noteRest(server) }
        }
        if session.pointee.stream.listening != nil { noteListening(client) }
        if session.pointee.goodbye != nil { endIfDone(client) }
        return true
    }
}

extension ClientSession {
    /// What it sends is dealt with at once, and nothing of the broker's is in the way.
    @inline(__always)
    var isPlainlyServed: Bool {
        phase == .ready && pending.isEmpty && outbound.isEmpty && request.call == nil
            && !request.isWaiting && !request.awaitsWords
    }
}

extension ClientStream {
    /// A query that comes now is the beginning of something, and changes nothing that is known of the client.
    @inline(__always)
    var isPlain: Bool {
        passing.bytesLeft == 0 && !isSkippingToSync && leases == nil && listening == nil
            && unnamed.isEmpty && unnamedNotKept == 0 && deferredError == nil
    }
}

extension ServerStream {
    /// A query may go to it as it is: nothing of the broker's belongs in front of it.
    @inline(__always)
    var takesPlainQuery: Bool { !isSkippingToSync && !hasSynthesized && !isResetting }
}

// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What the engine reaches of the outside: sockets, and what only the outside knows.
///
/// A method never calls the engine: what happens later comes as a new call. The broker implements it over
/// libuv and libpq. A query calls it four or five times; as a generic parameter it would save that many
/// indirect calls, but 6.3.1 specialises an engine only if everything that it shows is `public`.
package protocol World: AnyObject {
    /// Writes what the socket takes at once.
    func write(_ bytes: UnsafeRawBufferPointer, to client: ClientID) -> WriteOutcome
    func write(_ bytes: UnsafeRawBufferPointer, to server: ServerID) -> WriteOutcome
    /// What the engine wants to hear of next from this socket, until it says otherwise.
    func watch(_ client: ClientID, for interest: ClientInterest)
    func watch(_ server: ServerID, for interest: ServerInterest)
    /// The client's own writing side is closed, and nobody reads any more.
    func isHungUp(_ client: ClientID) -> Bool

    /// Writes these bytes with the server connection's descriptor, and with `parking` those of the client's bell and
    /// page; how many were taken, nil for none.
    func handOut(
        _ server: ServerID, to client: ClientID, _ bytes: UnsafeRawBufferPointer, parking: Bool
    ) -> Int?
    /// The client has a page and a bell; its token is out, and the page says that it may park, and who uses the lease
    /// meanwhile. False where that cannot be.
    func allowParking(_ client: ClientID, thread: String?, purpose: String?) -> Bool
    /// Its page says that it may not park any more. With `watching`, `Engine.bellRung` is called when the client rings.
    func forbidParking(_ client: ClientID, watching: Bool)
    /// Takes what lies parked: the token is in, and stays in; false if it is out.
    func takeToken(of client: ClientID) -> Bool
    /// Whether the token is in at this moment.
    func isTokenIn(of client: ClientID) -> Bool
    /// Who uses what may be parked, and for what, in the client's own words on its page; nil: it says nothing.
    func useOnPage(of client: ClientID) -> (thread: String?, purpose: String?)
    /// Why the outside would not have this lease direct; nil if it may be.
    func reasonNotDirect(_ server: ServerID, _ client: ClientID) -> NotDirect?
    /// Ends the connection for everyone who has its descriptor; some client has with `isShared`. What PostgreSQL has
    /// not begun of what was sent is not run: whatever it says next fails.
    func shutDown(_ server: ServerID, isShared: Bool)

    /// Numbers that nobody can foresee.
    func randomNumber() -> UInt64
}

/// An outside in which nobody parks.
extension World {
    package func allowParking(_ client: ClientID, thread: String?, purpose: String?) -> Bool {
        false
    }
    package func forbidParking(_ client: ClientID, watching: Bool) {}
    package func takeToken(of client: ClientID) -> Bool { false }
    package func isTokenIn(of client: ClientID) -> Bool { false }
    package func useOnPage(of client: ClientID) -> (thread: String?, purpose: String?) {
        (nil, nil)
    }
}

/// What became of a write.
package enum WriteOutcome: Equatable, Sendable {
    /// So many bytes were taken; fewer than there were, 0 included: the socket is full.
    case taken(Int)
    /// The other side is gone. What it said before may still be there to be read.
    case gone
}

/// What a client's socket is watched for.
package struct ClientInterest: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Bytes, and the end.
    package static let bytes = ClientInterest(rawValue: 1)
    package static let room = ClientInterest(rawValue: 2)
    /// The other side has closed its writing side.
    package static let end = ClientInterest(rawValue: 4)
    /// Both sides are closed.
    package static let hangUp = ClientInterest(rawValue: 8)
}

/// What a server's socket is watched for.
package struct ServerInterest: OptionSet, Sendable {
    package let rawValue: UInt8

    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let bytes = ServerInterest(rawValue: 1)
    package static let room = ServerInterest(rawValue: 2)
    package static let end = ServerInterest(rawValue: 4)
}

/// Why a lease that was asked for as direct is not.
package enum NotDirect: String, Sendable {
    case switchedOff = "direct_lease is off"
    case overTCP = "the client came over TCP"
    case unknownProcess = "the client's process is not visible here, or has ended"
    case strangeUser = "neither peer_map nor its name lets its user in as this role"
    case sessionPool = "pool_mode is session"
    case serverUsesTLS = "the server connection uses TLS"
    case otherUser = "another uid has direct leases of this pool"
    case contention = "more processes than connections want direct leases"
    case serverSpeaks = "the server is in the middle of a message"
    case clientDoesNotRead = "the client has not read what it was sent before"
}

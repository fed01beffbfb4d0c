// SPDX-License-Identifier: Apache-2.0

/// A line of `[peers]`: another broker on the same port, that CancelRequests of its clients are passed on to.
package struct PeerEntry: Equatable, Sendable {
    /// Its `peer_id`, as text.
    package var name: String
    package var peerID: Int
    /// A name, an address, or the folder of a Unix socket.
    package var host: String?
    package var port = 6432
    /// CancelRequests on their way to it at once.
    package var poolSize: Override<Int> = .inherited

    package init(name: String, peerID: Int) {
        self.name = name
        self.peerID = peerID
    }

    package func poolSize(_ settings: Settings) -> Int {
        switch poolSize {
        case .value(let size): size
        case .inherited: settings.defaultPoolSize > 0 ? settings.defaultPoolSize : 20
        }
    }
}

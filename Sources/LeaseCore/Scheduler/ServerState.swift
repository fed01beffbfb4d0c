// SPDX-License-Identifier: Apache-2.0

/// What a server connection does, as the scheduler sees it. Each case names its legal next states.
package enum ServerState: String, CaseIterable, Sendable {
    /// Being opened. Next: idle, cancelling, closing.
    case connecting
    /// Open, and free for a lease. Next: leased, validating, cancelling, closing.
    case idle
    /// Being checked before it is granted. Next: idle, cancelling, closing.
    case validating
    /// A client holds it. Next: idle, resetting, cancelling, closing.
    case leased
    /// Being cleaned of what its lease left. Next: idle, cancelling, closing.
    case resetting
    /// Free but for a cancel request on its way. Next: idle, resetting, closing.
    case cancelling
    /// The shell was told to close it. Next: none, the slot is free.
    case closing
}

/// How many server connections are in each state.
package struct ServerCounts: Equatable, Sendable {
    package var connecting = 0
    package var idle = 0
    package var validating = 0
    package var leased = 0
    package var resetting = 0
    package var cancelling = 0
    package var closing = 0
    /// Those of them, without the closing ones, that are confined to a client process.
    package var confined = 0

    package init() {}

    /// Every one that may occupy a place in PostgreSQL: what the bounds count.
    @inline(__always)
    package var total: Int { staying + closing }

    /// Those that are not on their way out.
    @inline(__always)
    package var staying: Int { connecting + connected }

    /// Those that were opened and live.
    @inline(__always)
    package var connected: Int { idle + validating + leased + resetting + cancelling }

    package subscript(state: ServerState) -> Int {
        @inline(__always) get {
            switch state {
            case .connecting: connecting
            case .idle: idle
            case .validating: validating
            case .leased: leased
            case .resetting: resetting
            case .cancelling: cancelling
            case .closing: closing
            }
        }
        @inline(__always) set {
            switch state {
            case .connecting: connecting = newValue
            case .idle: idle = newValue
            case .validating: validating = newValue
            case .leased: leased = newValue
            case .resetting: resetting = newValue
            case .cancelling: cancelling = newValue
            case .closing: closing = newValue
            }
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// One attempt to connect, from host to host until one is right.
package struct HostWalk: Sendable {
    /// How long a host may say nothing while there is another one to ask.
    package static let patience = Duration.seconds(1)

    private let wanted: WantedServer
    private var ahead: [ServerHost]
    /// Those with recent trouble, asked when none of the others is right.
    private var resting: [ServerHost]
    /// Those that said nothing are given more time once all have been asked.
    private var isPatient: Bool
    /// No standby was there: any server will do.
    private var takesAny = false
    package private(set) var current: ServerHost?
    package private(set) var failed: [(host: ServerHost, trouble: HostTrouble)] = []

    init(_ ready: [ServerHost], resting: [ServerHost], wanted: WantedServer) {
        self.wanted = wanted
        ahead = ready
        self.resting = resting
        isPatient = ready.count + resting.count < 2
    }

    /// What libpq is told to look for; nil: nothing.
    package var attributes: String? {
        switch wanted {
        case .any: nil
        case .preferStandby: takesAny ? nil : WantedServer.standby.rawValue
        case .readWrite, .readOnly, .primary, .standby: wanted.rawValue
        }
    }

    /// How long the present host may be silent; nil: as long as the attempt may take.
    package var limit: Duration? { isPatient ? nil : Self.patience }

    /// The host to ask next; nil: none is left.
    package mutating func next() -> ServerHost? {
        if ahead.isEmpty { beginAgain() }
        current = ahead.isEmpty ? nil : ahead.removeFirst()
        return current
    }

    private mutating func beginAgain() {
        if wanted == .preferStandby, !takesAny {
            takesAny = true
            ahead = failed.filter { $0.trouble == .unwanted }.map(\.host)
            if !ahead.isEmpty { return }
        }
        if !resting.isEmpty {
            ahead = exchange(&resting, with: [])
            return
        }
        // Who says nothing may be slow. If another host has answered, that is a reason to ask all of them again soon.
        guard !isPatient, failed.allSatisfy({ $0.trouble != .unwanted }),
            let slow = failed.first(where: { $0.trouble == .silent })
        else { return }
        isPatient = true
        ahead = [slow.host]
    }

    /// The present host is not the one.
    package mutating func pass(_ trouble: HostTrouble) {
        if let current { failed.append((current, trouble)) }
        current = nil
    }

    /// Those that were passed over for trouble of their own. A primary that is taken for want of a standby is none.
    package var passedOver: [ServerHost] {
        failed.filter { wanted != .preferStandby || $0.trouble != .unwanted }.map(\.host)
    }
}

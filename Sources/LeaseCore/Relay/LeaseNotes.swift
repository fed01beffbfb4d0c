// SPDX-License-Identifier: Apache-2.0

import PostgresWire

/// What the texts of a lease call, and set by name: what the server is asked about at its end (`StateQuestion`).
extension ServerStream {
    /// A text of this lease calls functions that are not known to leave nothing.
    @inline(never)
    mutating func noteCalls(in text: UnsafeRawBufferPointer) {
        guard let functions else { return }
        let doubted = doubtedCalls ?? DoubtedCalls()
        let names = functions.doubts(in: text)
        // Those that only ask for what the session has drawn from sequences leave nothing.
        if names.isEmpty { return }
        for name in names where !doubted.names.contains(name) {
            if name == Self.setseed { taint.formUnion(.seed) }
            if doubted.names.count < 64 { doubted.names.append(name) }
        }
        doubtedCalls = doubted
        taint.formUnion(.functions)
        // What they set has no name here; what looks like one in the text may be it.
        let noted = settingNames ?? NamesInLease()
        noted.names.leaveOpen()
        noted.names.addClassNames(in: text)
        settingNames = noted
    }

    /// Nobody asks what they have left.
    mutating func forgetCalls() { taint.subtractTaint(.functions) }

    private static let setseed = Array("setseed".utf8)

    /// A text of this lease may set these.
    mutating func note(_ names: SettingNames, within scope: SetScope = .nothing) {
        if names == .none { return }
        if scope.isLocal { taint.formUnion(.localNames) }
        let noted = settingNames ?? NamesInLease()
        noted.names.formUnion(names)
        settingNames = noted
    }

    /// The values of a Bind may be names of what it sets.
    mutating func noteParameters(_ bind: UnsafeRawBufferPointer) {
        functions?.noteValues(bind)
        guard let settingNames, !settingNames.names.isComplete else { return }
        settingNames.names.addClassNames(in: bind)
    }

    /// A setting was set that no text of this lease names.
    mutating func leaveSettingsOpen() {
        let noted = settingNames ?? NamesInLease()
        noted.names.leaveOpen()
        settingNames = noted
    }
}

// SPDX-License-Identifier: Apache-2.0

import DequeModule
import PostgresWire

/// What statements of a client's put back (`SettingsReset`): to the server the default is its own, to the client it is
/// that of its startup packet.
extension ServerStream {
    /// A statement of the first entry has set something, or put it back; which is nil for a setting.
    mutating func settingIsAnswered(_ head: Outstanding?, isReset: Bool) {
        guard head?.hasResets == true, !resets.isEmpty, resets[0] != [.hidden] else {
            if isReset { pendingResets.append(.unknown) } else { overrideResets() }
            return
        }
        guard let reset = resets[0].isEmpty ? .unknown : resets[0].removeFirst() else {
            overrideResets()
            return
        }
        pendingResets.append(reset)
    }

    /// A setting is answered behind resets of the same batch, whose values are reported together.
    private mutating func overrideResets() {
        if pendingResets.count > reportedResets, pendingResets.last != .overridden {
            pendingResets.append(.overridden)
        }
    }

    /// Settings are being put back, and nobody was told of it yet.
    @inline(__always)
    var isResetting: Bool { !resets.isEmpty || pendingResets.count > reportedResets }

    mutating func forgetResets() {
        guard !pendingResets.isEmpty else { return }
        pendingResets = []
        reportedResets = 0
        committedResets = 0
    }

    /// The transaction is rolled back.
    mutating func forgetOpenResets() {
        guard committedResets > 0 else {
            forgetResets()
            return
        }
        pendingResets.removeSubrange(committedResets...)
        reportedResets = min(reportedResets, pendingResets.count)
    }

    /// What an Execute has changed is reported in front of the ReadyForQuery.
    mutating func endResets(of entry: Outstanding) {
        let ended = resets.removeFirst()
        if entry.isExtended, ended.contains(.hidden),
            let sync = outstanding.firstIndex(where: { $0.kind == .sync })
        {
            outstanding[sync].hidesReset = true
        }
    }

    /// A function of what is answered may have put something back.
    func mayHideReset(_ head: Outstanding?) -> Bool {
        if head?.kind == .sync { return head?.hidesReset == true }
        return head?.hasResets == true && resets.first?.contains(.hidden) == true
    }
}

extension ServerTurn {
    mutating func parameterStatus(
        _ range: Range<Int>, _ head: Outstanding?, _ isForClient: Bool,
        _ client: borrowing ClientStream,
        _ server: inout ServerStream, _ toClient: inout RelayOutput
    ) {
        let body = body(range)
        let isWhole = body.count < Self.parameterLimit
        let read = isWhole ? ParameterStatusBody(body: body) : ParameterStatusBody(prefix: body)
        guard let parameter = read else {
            relay(range, if: isForClient, &server, &toClient)
            return
        }
        guard head?.audience != .broker else {
            relay(range, if: isForClient, &server, &toClient)
            step.brokerParameters.append((parameter.name, parameter.value))
            return
        }
        step.changedParameters.append((parameter.name, parameter.value))
        let name = parameter.name.lowercased()
        // Of this message: what is set behind an earlier one is what it is.
        let reported = server.pendingResets[server.reportedResets...]
        let behind = reported.lastIndex(of: .overridden).map { $0 + 1 } ?? reported.startIndex
        let resets = reported[behind...]
        guard isForClient, let startup = client.startupValues,
            let own = startup.value(of: parameter.name),
            startup.mayBeServersOwn(parameter.value, parameter.name),
            SettingsReset.putsBack(name, in: resets) || server.mayHideReset(head)
        else {
            relay(range, if: isForClient, &server, &toClient)
            return
        }
        relay(range, if: false, &server, &toClient)
        step.restoredParameters.append((parameter.name, own))
        toClient.inject(after: input) {
            $0.appendParameterStatus(name: parameter.name, value: own)
        }
    }

    /// What a client had set to the server's own default is that still, and nothing was reported of it: its client's own
    /// is another.
    mutating func tellUnchanged(
        _ client: borrowing ClientStream, _ server: borrowing ServerStream,
        _ toClient: inout RelayOutput
    ) {
        guard let startup = client.startupValues, !server.isDraining else { return }
        let resets = server.pendingResets[server.reportedResets...]
        for (name, own) in startup.differing
        where SettingsReset.putsBack(name.lowercased(), in: resets)
            && !step.changedParameters.contains(where: { $0.name == name })
        {
            step.restoredParameters.append((name, own))
            toClient.inject(after: input) { $0.appendParameterStatus(name: name, value: own) }
        }
    }

    mutating func confirmResets(_ server: inout ServerStream) {
        step.resets += server.pendingResets
        step.freshResets += server.pendingResets[server.reportedResets...]
        server.forgetResets()
    }

    mutating func reportResets(_ server: inout ServerStream) {
        if server.status == .idle {
            confirmResets(&server)
        } else {
            let committed = server.committedResets
            if committed > 0 {
                // A COMMIT, and the beginning of another transaction behind it.
                step.resets += server.pendingResets[..<committed]
                step.freshResets += server.pendingResets[..<committed].dropFirst(
                    server.reportedResets)
                server.pendingResets.removeSubrange(..<committed)
                server.reportedResets = max(0, server.reportedResets - committed)
                server.committedResets = 0
            }
            step.openResets += server.pendingResets[server.reportedResets...]
            server.reportedResets = server.pendingResets.count
        }
    }
}

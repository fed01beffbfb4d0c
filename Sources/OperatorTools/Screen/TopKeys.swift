// SPDX-License-Identifier: Apache-2.0

/// What each key does.
extension TopModel {
    package mutating func handle(_ key: Key) -> TopOrder? {
        switch key {
        case .interrupt: return .quit
        case .suspend: return .suspend
        case .redraw: return .redraw
        default: break
        }
        switch mode {
        case .panels: return handleInPanels(key)
        case .help:
            if key == .character("q") { return .quit }
            mode = .panels
        case .details(let panel, _): return handleInDetails(key, of: panel)
        case .askingToKill(let lease, _): return handleAnswer(key, lease: lease)
        case .typingFilter(let before): handleInFilter(key, before: before)
        }
        return nil
    }

    private mutating func handleInPanels(_ key: Key) -> TopOrder? {
        message = nil
        switch key {
        case .character(let letter): return handle(letter)
        case .up: move(by: -1)
        case .down: move(by: 1)
        case .pageUp: move(by: -pageLength)
        case .pageDown: move(by: pageLength)
        case .home: move(by: -.max / 2)
        case .end: move(by: .max / 2)
        case .tab: panel = panel.next(by: 1)
        case .backTab: panel = panel.next(by: -1)
        case .enter:
            if let selected { mode = .details(panel, identity: selected.identity) }
        case .escape:
            filter = ""
            arrange()
        case .backspace, .interrupt, .suspend, .redraw, .unknown: break
        }
        return nil
    }

    private mutating func handle(_ letter: Character) -> TopOrder? {
        switch letter {
        case "q", "Q": return .quit
        case "?", "h": mode = .help
        case "j": move(by: 1)
        case "k": move(by: -1)
        case "/": mode = .typingFilter(before: filter)
        case "K": askToKill()
        case " ":
            isHeld.toggle()
            if !isHeld { return .readNow }
        case "+", "=": changeInterval(by: 1)
        case "-": changeInterval(by: -1)
        case "r": return .readNow
        default:
            guard let order = SortOrder(rawValue: letter) else { return nil }
            isReversed = order == self.order && !isReversed
            self.order = order
            moveToFirst()
        }
        return nil
    }

    private mutating func handleInDetails(_ key: Key, of panel: Panel) -> TopOrder? {
        switch key {
        case .character("q"): return .quit
        case .character("K"): askToKill()
        case .escape, .enter, .backspace, .character(" "): mode = .panels
        case .up, .character("k"), .down, .character("j"):
            move(by: key == .up || key == .character("k") ? -1 : 1)
            if let selected { mode = .details(panel, identity: selected.identity) }
        default: break
        }
        return nil
    }

    private mutating func askToKill() {
        // Each link of a lock is a lease, too.
        guard panel == .leases || panel == .locks else {
            message = Message(
                text: "only leases can be ended: Tab goes to them", isFailure: true)
            return
        }
        guard let selected else {
            message = Message(text: "there is no lease here to end", isFailure: true)
            return
        }
        guard let lease = selected.record.text("lease_id") else {
            message = Message(text: "its client has left: it is ending already", isFailure: true)
            return
        }
        mode = .askingToKill(lease: lease, holder: LeaseHolder.text(selected.record))
    }

    private mutating func handleAnswer(_ key: Key, lease: String) -> TopOrder? {
        mode = .panels
        if key == .character("y") || key == .character("Y") {
            message = Message(text: "ending lease \(lease) …", isFailure: false)
            return .kill(lease: lease)
        }
        message = Message(text: "lease \(lease) is left alone", isFailure: false)
        return nil
    }

    private mutating func handleInFilter(_ key: Key, before: String) {
        switch key {
        case .enter: mode = .panels
        case .escape:
            filter = before
            mode = .panels
        case .backspace:
            if filter.isEmpty { mode = .panels } else { filter.removeLast() }
        case .character(let letter):
            if filter.count < 64 { filter.append(letter) }
        default: return
        }
        arrange()
    }
}

/// Who holds a lease, in the words of a question and of a table's caption.
package enum LeaseHolder {
    package static func text(_ record: ConsoleRecord) -> String {
        var words: [String] = []
        if let pid = record.text("client_pid") { words.append("pid \(pid)") }
        if let program = filled(record, "program") { words.append(program) }
        if let application = filled(record, "application_name"),
            application != record.text("program")
        {
            words.append("(\(application))")
        }
        if words.isEmpty { words.append("an unknown client") }
        if let purpose = filled(record, "purpose") { words.append("for '\(purpose)'") }
        // The age of a lock's row is that of the lock.
        if let age = record.integer("held_us") ?? record.integer("age_us") {
            words.append("since \(Quantity.duration(microseconds: age))")
        }
        return words.joined(separator: " ")
    }

    private static func filled(_ record: ConsoleRecord, _ name: String) -> String? {
        record.text(name).flatMap { $0.isEmpty ? nil : $0 }
    }
}

// SPDX-License-Identifier: Apache-2.0

/// What the terminal has to do for the model.
package enum TopOrder: Equatable, Sendable {
    case quit
    case suspend
    /// Everything again, also what has not changed.
    case redraw
    case readNow
    /// KILL LEASE; the person has said yes.
    case kill(lease: String)
}

/// All that the screen of `pglease top` shows and all that its keys change; does no I/O.
///
/// Invariant: `arranged` is what `reading`, `filter` and the order make of it.
package struct TopModel: Sendable {
    package enum Mode: Equatable, Sendable {
        case panels
        case help
        /// All fields of one row.
        case details(Panel, identity: String)
        case askingToKill(lease: String, holder: String)
        case typingFilter(before: String)
    }

    package enum Link: Equatable, Sendable {
        case connecting
        case live
        case away(reason: String, since: Duration)
    }

    package struct Message: Equatable, Sendable {
        package let text: String
        package let isFailure: Bool
    }

    /// Steps of + and -, in milliseconds.
    private static let intervals = [200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000]

    package let address: String
    package var mode = Mode.panels
    package private(set) var link = Link.connecting
    package private(set) var reading: BrokerReading?
    package private(set) var history = UtilisationHistory()
    /// When the last reading came, on the clock of `received`.
    private(set) var readAt = Duration.zero
    package internal(set) var panel = Panel.leases
    package internal(set) var order = SortOrder.age
    package internal(set) var isReversed = false
    package internal(set) var filter = ""
    /// Readings come and are not shown.
    package internal(set) var isHeld = false
    package internal(set) var message: Message?
    package internal(set) var interval: Duration
    private(set) var arranged: [Panel: [PanelRow]] = [:]
    private var cursor: [Panel: Cursor] = [:]
    /// Of the last drawing; what a page is.
    package var pageLength = 10

    /// The row that a panel's cursor is on, by name, and its place for when the row is gone.
    private struct Cursor: Sendable {
        var identity: String?
        var place = 0
    }

    package init(address: String, interval: Duration) {
        self.address = address
        self.interval = interval
    }

    // MARK: What comes from the broker

    package mutating func received(_ reading: BrokerReading, at time: Duration) {
        link = .live
        history.add(reading, at: time)
        if isHeld, self.reading != nil { return }
        readAt = time
        self.reading = reading
        arrange()
    }

    package mutating func lost(_ reason: String, at time: Duration) {
        if case .away(_, let since) = link {
            link = .away(reason: reason, since: since)
        } else {
            link = .away(reason: reason, since: time)
        }
    }

    /// What became of KILL LEASE; nil: it was done.
    package mutating func killed(_ lease: String, failure: String?) {
        message =
            failure.map { Message(text: "lease \(lease): \($0)", isFailure: true) }
            ?? Message(text: "lease \(lease) is ended", isFailure: false)
    }

    mutating func arrange() {
        guard let reading else { return }
        for panel in Panel.allCases {
            let rows = panel.arranged(
                panel.rows(of: reading), by: order, reversed: isReversed, filter: filter)
            arranged[panel] = rows
            var cursor = cursor[panel] ?? Cursor()
            if let place = rows.firstIndex(where: { $0.identity == cursor.identity }) {
                cursor.place = place
            } else {
                cursor.place = max(0, min(cursor.place, rows.count - 1))
                cursor.identity = rows.isEmpty ? nil : rows[cursor.place].identity
            }
            self.cursor[panel] = cursor
        }
    }

    // MARK: The cursor

    package func rows(_ panel: Panel) -> [PanelRow] { arranged[panel] ?? [] }

    package func place(in panel: Panel) -> Int { cursor[panel]?.place ?? 0 }

    package var selected: PanelRow? {
        let rows = rows(panel)
        let place = place(in: panel)
        return place < rows.count ? rows[place] : nil
    }

    mutating func move(by step: Int) {
        let rows = rows(panel)
        if rows.isEmpty { return }
        let place = max(0, min(place(in: panel) + step, rows.count - 1))
        cursor[panel] = Cursor(identity: rows[place].identity, place: place)
    }

    mutating func moveToFirst() {
        cursor[panel] = Cursor()
        arrange()
    }

    mutating func changeInterval(by step: Int) {
        let current = Int(interval / .milliseconds(1))
        let place = Self.intervals.lastIndex { $0 <= current } ?? 0
        let next = max(0, min(place + step, Self.intervals.count - 1))
        interval = .milliseconds(Self.intervals[next])
    }
}

// SPDX-License-Identifier: Apache-2.0

/// How many lines each panel gets, its heading included.
///
/// The panel in focus comes first, then leases and those who wait; an empty one stays out unless it
/// has the focus.
struct PanelHeights {
    private static let priority: [Panel] = [.leases, .locks, .waiters, .pools, .groups]
    private var heights: [Panel: Int] = [:]

    init(_ model: TopModel, room: Int) {
        func wish(_ panel: Panel) -> Int {
            let count = model.rows(panel).count
            if count == 0 { return panel == model.panel ? 2 : 0 }
            return count + 1
        }
        let order = [model.panel] + Self.priority.filter { $0 != model.panel }
        var left = max(0, room)
        func grow(_ panel: Panel, to height: Int) {
            let more = min(min(height, wish(panel)) - (heights[panel] ?? 0), left)
            if more <= 0 { return }
            heights[panel, default: 0] += more
            left -= more
        }
        // The least that is of use is a heading and a row.
        for (rank, panel) in order.enumerated() where left >= 2 {
            grow(panel, to: rank == 0 ? 4 : 2)
        }
        // Nobody takes all before the others have some rows.
        var height = 3
        while left > 0 {
            let before = left
            for panel in order where (heights[panel] ?? 0) > 0 {
                grow(panel, to: panel == model.panel || panel == .leases ? height * 2 : height)
            }
            if left == before, order.allSatisfy({ wish($0) <= height }) { break }
            height += 1
        }
    }

    subscript(panel: Panel) -> Int { heights[panel] ?? 0 }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import OperatorTools

/// What became of a visit to the console, for the person at the terminal and for scripts.
enum ConsoleReport {
    /// Prints why, and what to do about it; answers the exit status.
    static func refuse(_ failure: ConsoleFailure, _ console: ConsoleConnection) -> ExitCode {
        let address = console.address
        switch failure {
        case .noAnswer(let reason):
            Output.error("pglease: no broker answers at \(address): \(clean(reason))")
            Output.error(
                "Is it running there? --host and --port, --config or PGLEASE_CONFIG say where to ask."
            )
        case .refused(let text, let hint):
            Output.error("pglease: the broker at \(address) says no: \(clean(text))")
            if let hint { Output.error(clean(hint)) }
        }
        return ExitCode(failure.status)
    }

    /// There is no broker to ask.
    static func refuse(_ search: BrokerSearch) -> ExitCode {
        if let (place, text) = search.refusal {
            Output.error("pglease: the broker at \(place.address) says no: \(clean(text))")
            return ExitCode(1)
        }
        Output.error("pglease: no broker answers:")
        for line in search.searched { Output.error("  \(clean(line))") }
        Output.error(
            "Is it running there? --host and --port, --config or PGLEASE_CONFIG, PGHOST and PGPORT say where to ask."
        )
        return ExitCode(2)
    }

    static func clean(_ text: String) -> String {
        DisplayText.clean(text)
    }
}

/// Where a report goes: a terminal of some width, or a file that takes everything.
struct Paper {
    /// nil: no terminal.
    let width: Int?
    let height: Int?
    let glyphs: Glyphs
    let isColoured: Bool

    init(_ descriptor: Int32 = STDOUT_FILENO, environment: [String: String]) {
        let size = TerminalSize(of: descriptor)
        width = size?.columns
        height = size?.rows
        let isTerminal = isatty(descriptor) == 1
        isColoured = isTerminal && TerminalWishes.colour(environment)
        glyphs = !isTerminal || TerminalWishes.showsUTF8(environment) ? .unicode : .ascii
    }

    func text(_ line: Line) -> String {
        width == nil ? line.text : TerminalPainter.inline(line, coloured: isColoured)
    }

    func print(_ lines: [Line]) {
        Output.line(lines.map { text($0) }.joined(separator: "\n"))
    }
}

/// What the environment says about the terminal.
enum TerminalWishes {
    /// no-color.org: any text in NO_COLOR.
    static func colour(_ environment: [String: String]) -> Bool {
        (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb"
    }

    /// By the locale; without one it is C's.
    static func showsUTF8(_ environment: [String: String]) -> Bool {
        let names = ["LC_ALL", "LC_CTYPE", "LANG"].lazy
        let locale = names.compactMap { environment[$0] }.first { !$0.isEmpty } ?? ""
        let text = locale.lowercased()
        return text.contains("utf-8") || text.contains("utf8")
    }
}

/// The columns and rows of a terminal (TIOCGWINSZ).
struct TerminalSize: Equatable {
    let columns: Int
    let rows: Int

    /// nil: `descriptor` is no terminal.
    init?(of descriptor: Int32) {
        guard isatty(descriptor) == 1 else { return nil }
        var size = winsize()
        let isKnown = ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0
        columns = isKnown ? Int(size.ws_col) : 80
        rows = isKnown && size.ws_row > 0 ? Int(size.ws_row) : 24
    }
}

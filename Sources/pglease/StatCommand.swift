// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import OperatorTools

/// `pglease stat`: the broker's state on one screen, or as JSON for programs.
struct StatCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "stat",
        abstract: "Show what a broker does now.",
        usage: """
            pglease stat [--json] [--watch [<seconds>]]
                         [--config <file>] [--set <name=value> ...]
                         [--host <folder|host>] [--port <number>] [--user <name>]
                         [--timeout <seconds>]
            """,
        discussion: """
            Asks the console, which is open to the user that the broker runs as, and to those in \
            admin_users and stats_users; a password comes from PGPASSWORD or a passfile, as libpq has \
            them. \(BrokerAddressOptions.whereToAsk) With --json it prints \
            one object: state, pools, groups, leases, waiters, locks and stats, the rows with the \
            columns of the SHOW commands; --watch prints one for each line.

            EXIT STATUS
              0  shown
              1  the broker refuses
              2  no answer
              3  wrong options or a wrong configuration
            """
    )

    @OptionGroup var place: BrokerAddressOptions

    @Flag(name: .long, help: "One JSON object in one line.")
    var json = false

    @Flag(name: .long, help: "Again and again, also after the broker was started again.")
    var watch = false

    @Argument(help: ArgumentHelp("Between two looks, with --watch.", valueName: "seconds"))
    var seconds: Double?

    func validate() throws {
        if seconds != nil, !watch { throw ValidationError("seconds are for --watch") }
        if let seconds, !(0.1...3600).contains(seconds) {
            throw ValidationError("--watch takes 0.1 to 3600 seconds")
        }
    }

    mutating func run() throws {
        let console = try ConsoleConnection(place, program: "stat")
        let environment = try ProcessEnvironment.read()
        do throws(ConsoleFailure) {
            show(try console.read(), console, environment, isFirst: true)
        } catch {
            throw ConsoleReport.refuse(error, console)
        }
        if watch { goOn(console, environment) }
    }

    /// Until a signal ends it. What fails is said once, and once that it is over.
    private func goOn(_ console: ConsoleConnection, _ environment: [String: String]) -> Never {
        var isAway = false
        while true {
            usleep(UInt32((seconds ?? 2) * 1_000_000))
            do throws(ConsoleFailure) {
                let reading = try console.read()
                if isAway { Output.error("pglease: the broker answers again") }
                show(reading, console, environment, isFirst: isAway)
                isAway = false
            } catch {
                if !isAway {
                    let reason = ConsoleReport.clean(error.text)
                    Output.error("pglease: \(console.address): \(reason); trying again")
                }
                isAway = true
            }
        }
    }

    private func show(
        _ reading: BrokerReading, _ console: ConsoleConnection, _ environment: [String: String],
        isFirst: Bool
    ) {
        if json {
            Output.line(reading.json.serialised)
            return
        }
        let paper = Paper(environment: environment)
        var lines = StatReport(
            reading, address: console.address, width: paper.width, glyphs: paper.glyphs
        ).lines()
        guard watch else {
            paper.print(lines)
            return
        }
        guard let height = paper.height else {
            if !isFirst { Output.line("") }
            paper.print(lines)
            return
        }
        // Written over what was there: an empty screen in between would flicker.
        if lines.count > height - 1 { lines = Array(lines.prefix(height - 1)) }
        let text = lines.map { "\(paper.text($0))\u{1B}[K" }.joined(separator: "\n")
        Output.line("\(isFirst ? "\u{1B}[2J" : "")\u{1B}[H\(text)\n\u{1B}[J\u{1B}[A")
    }
}

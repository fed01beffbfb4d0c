// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import OperatorTools

/// `pglease top`: the broker live, on the whole screen.
struct TopCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "top",
        abstract: "Watch a broker: pools, groups, leases, waiters and locks, live.",
        usage: """
            pglease top [--interval <seconds>]
                        [--config <file>] [--set <name=value> ...]
                        [--host <folder|host>] [--port <number>] [--user <name>]
                        [--timeout <seconds>]
            """,
        discussion: """
            "?" shows the keys. A lease can be ended with K, which asks first. When the broker is \
            away it says so and goes on when it is back. Where standard output is no terminal it \
            prints what stat and leases print, once. NO_COLOR turns colours off. A password comes from \
            PGPASSWORD or a passfile, as libpq has them. \(BrokerAddressOptions.whereToAsk)

            EXIT STATUS
              0  left with q
              1  the broker refuses
              2  no answer
              3  wrong options or a wrong configuration
            """
    )

    @OptionGroup var place: BrokerAddressOptions

    @Option(name: .long, help: ArgumentHelp("Between two readings.", valueName: "seconds"))
    var interval = 1.0

    func validate() throws {
        guard (0.1...3600).contains(interval) else {
            throw ValidationError("--interval is 0.1 to 3600 seconds")
        }
    }

    mutating func run() throws {
        let console = try ConsoleConnection(place, program: "top")
        let environment = try ProcessEnvironment.read()
        let first: BrokerReading
        // Before the screen is taken over: a wrong address is told where it can be read.
        do throws(ConsoleFailure) {
            first = try console.read()
        } catch {
            throw ConsoleReport.refuse(error, console)
        }
        guard isatty(STDOUT_FILENO) == 1, environment["TERM"] != "dumb",
            let terminal = TerminalScreen()
        else {
            printOnce(first, console, environment)
            return
        }
        let session = try TopSession(
            console, terminal, first, interval: .seconds(interval),
            glyphs: TerminalWishes.showsUTF8(environment) ? .unicode : .ascii,
            isColoured: TerminalWishes.colour(environment))
        session.run()
    }

    private func printOnce(
        _ reading: BrokerReading, _ console: ConsoleConnection, _ environment: [String: String]
    ) {
        let paper = Paper(environment: environment)
        let stat = StatReport(
            reading, address: console.address, width: paper.width, glyphs: paper.glyphs)
        let leases = LeaseListing(reading, LeaseFilter())
        paper.print(
            stat.lines() + [Line()]
                + leases.lines(width: paper.width, limit: nil, glyphs: paper.glyphs))
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Glibc
import OperatorTools

/// `pglease leases`: who holds a connection, and how to take it back.
struct LeasesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "leases",
        abstract: "Show who holds which connection, the longest first; end one.",
        usage: """
            pglease leases [--database <name>] [--group <name>] [--pid <number>] [--all] [--json]
            pglease leases --kill <lease> [--yes]
                           and where to ask: [--config <file>] [--set <name=value> ...]
                           [--host <folder|host>] [--port <number>] [--user <name>]
                           [--timeout <seconds>]
            """,
        discussion: """
            On a terminal it shows as many as there is room for, and cuts what is too long; else \
            all, whole. "!" marks one that is held for longer than lease_warn_after. --kill rolls \
            the lease's transaction back and tells its client so (57P01); it asks before. A password \
            comes from PGPASSWORD or a passfile, as libpq has them. \(BrokerAddressOptions.whereToAsk)

            EXIT STATUS
              0  shown, or ended
              1  the broker refuses, there is no such lease, or the answer was no
              2  no answer
              3  wrong options or a wrong configuration
            """
    )

    @OptionGroup var place: BrokerAddressOptions

    @Option(name: .long, help: ArgumentHelp("Only of this database.", valueName: "name"))
    var database: String?

    @Option(name: .long, help: ArgumentHelp("Only of this group.", valueName: "name"))
    var group: String?

    @Option(name: .long, help: ArgumentHelp("Only of this client process.", valueName: "number"))
    var pid: Int?

    @Flag(name: .long, help: "All, also more than a screen has room for.")
    var all = false

    @Flag(name: .long, help: "A JSON array, with the columns of SHOW LEASES.")
    var json = false

    @Option(name: .long, help: ArgumentHelp("End this lease.", valueName: "lease"))
    var kill: UInt64?

    @Flag(name: .long, help: "End it without asking.")
    var yes = false

    func validate() throws {
        if kill != nil, json || all || database != nil || group != nil || pid != nil {
            throw ValidationError("--kill takes the number of one lease and no filter")
        }
        if yes, kill == nil { throw ValidationError("--yes is for --kill") }
    }

    mutating func run() throws {
        let console = try ConsoleConnection(place, program: "leases")
        let environment = try ProcessEnvironment.read()
        let reading: BrokerReading
        do throws(ConsoleFailure) {
            reading = try console.read()
        } catch {
            throw ConsoleReport.refuse(error, console)
        }
        let filter = LeaseFilter(database: database, group: group, process: pid)
        let report = LeaseListing(reading, filter)
        if let kill {
            try end("\(kill)", report, console)
        } else if json {
            Output.line(report.json.serialised)
        } else {
            show(report, Paper(environment: environment))
        }
    }

    private func show(_ report: LeaseListing, _ paper: Paper) {
        // The heading, the line that says how many more, and the shell's prompt.
        let limit = all ? nil : paper.height.map { max(1, $0 - 3) }
        paper.print(report.lines(width: paper.width, limit: limit, glyphs: paper.glyphs))
    }

    private func end(_ lease: String, _ report: LeaseListing, _ console: ConsoleConnection) throws {
        guard let record = report.record(ofLease: lease) else {
            Output.error(
                "pglease: there is no lease \(lease); pglease leases lists those there are")
            throw ExitCode(1)
        }
        let holder = ConsoleReport.clean(LeaseHolder.text(record))
        if !yes {
            Output.ask("End lease \(lease), \(holder)? [y/N] ")
            let answer = readLine()?.lowercased() ?? ""
            guard answer == "y" || answer == "yes" else {
                Output.error("lease \(lease) is left alone")
                throw ExitCode(1)
            }
        }
        do throws(ConsoleFailure) {
            try console.kill(lease: lease)
        } catch {
            throw ConsoleReport.refuse(error, console)
        }
        Output.line("lease \(lease), \(holder), is ended")
    }
}

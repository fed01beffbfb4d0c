// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import BrokerConfiguration
import Glibc
import OperatorTools

/// `pglease doctor`: looks at a running set-up, and says what is wrong and what to do.
struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Look at a set-up, and say what is wrong and what to do.",
        usage: """
            pglease doctor [--json] [--role <name>]
                           [--config <file>] [--set <name=value> ...] [--database-url <url>]
                           [--host <folder|host>] [--port <number>] [--user <name>]
                           [--timeout <seconds>]
            """,
        discussion: """
            Looks at the configuration and the rights of its files, the socket, the running broker, \
            each PostgreSQL of [databases] (name, address, login, TLS, connections against \
            max_connections), auth_query, shared bounds, direct leases and clocks. It changes nothing, \
            takes no lease, and prints no secret. Where the broker is down it says so first, and looks \
            at the rest. It reads \(ConfigurationExam.usualFile) where neither --config nor \
            PGLEASE_CONFIG names a file. As root it logs in to PostgreSQL as the user that the broker \
            runs as; as anybody else, as itself. \(BrokerAddressOptions.whereToAsk)

            EXIT STATUS
              0  nothing is wrong
              1  something is doubtful
              2  something is wrong
              3  wrong options
            """
    )

    @OptionGroup var place: BrokerAddressOptions
    @OptionGroup var database: DatabaseOptions

    @Option(
        name: .long,
        help: ArgumentHelp(
            "A role to log in as where [databases] names none and no client has come.",
            valueName: "name"))
    var role: String?

    @Flag(name: .long, help: "One JSON object in one line.")
    var json = false

    mutating func run() throws {
        signal(SIGPIPE, SIG_IGN)
        let environment = try ProcessEnvironment.read()
        let exam = ConfigurationExam(place.options, database, environment)
        let broker = BrokerExam(place, exam.loaded, environment)
        // Whether there is a broker comes first: the rest is read in its light.
        var findings = broker.findings + exam.findings
        findings += FileExam(exam, runsAs: broker.process).findings
        if let loaded = exam.loaded {
            findings += SocketExam(loaded, broker).findings
            findings += ProcessExam(loaded.configuration.settings, broker.process).findings
        }
        if let reading = broker.reading {
            findings += BrokerDiagnosis(reading, settings: exam.settings).findings
        }
        if let loaded = exam.loaded {
            findings += identityFindings(broker.process, loaded)
            var servers = ServerExam(loaded, broker, role: role, timeout: .seconds(place.timeout))
            servers.run()
            findings += servers.findings
            findings += DirectExam(loaded, broker, servers).findings
        }
        let report = DiagnosisReport(findings)
        if json {
            Output.line(report.json.serialised)
        } else {
            Paper(environment: environment).print(report.lines)
        }
        if report.verdict != .ok { throw ExitCode(report.verdict.status) }
    }

    /// Becomes the broker's user, whose passfile, key files and peer logins are the ones that count.
    private func identityFindings(
        _ process: BrokerProcessFacts?, _ loaded: LoadedConfiguration
    ) -> [Finding] {
        let wanted =
            process?.account
            ?? (process == nil ? loaded.configuration.settings.user : nil)
            ?? (process == nil && getpwnam("pglease") != nil ? "pglease" : nil)
        guard geteuid() == 0 else {
            guard let process, process.userID != geteuid() else { return [] }
            return [
                .warning(
                    "user",
                    "the broker runs as \(process.shownUser), and PostgreSQL is looked at as another",
                    do: "run pglease doctor as root, or as \(process.shownUser)")
            ]
        }
        guard let wanted, wanted != "root" else { return [] }
        do {
            try ProcessUser.become(wanted)
        } catch {
            return [
                .warning(
                    "user", "cannot become \(wanted), as whom the broker runs",
                    do: "look whether that user still exists")
            ]
        }
        return [.ok("user", "PostgreSQL is looked at as \(wanted), as whom the broker runs")]
    }
}

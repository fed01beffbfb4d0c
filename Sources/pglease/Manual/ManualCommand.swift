// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import BrokerConfiguration

/// `pglease manual`: the pages of the manual, made of the commands and of the table of settings, for packages.
struct ManualCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "manual",
        abstract: "Print a page of the manual, for man.",
        usage: "pglease manual pglease.1 | pglease.ini.5",
        shouldDisplay: false
    )

    enum Page: String, ExpressibleByArgument, CaseIterable {
        case commands = "pglease.1"
        case settings = "pglease.ini.5"
    }

    @Argument(help: "Which page.")
    var page: Page

    func run() {
        let text =
            switch page {
            case .commands: Self.commands
            case .settings: Self.settings
            }
        Output.line(String(text.dropLast()))
    }

    private static var commands: String {
        var page = Roff(
            "pglease", section: 1, version: ProductVersion.text,
            "leases a bounded pool of PostgreSQL connections to the workers of a host")
        page.heading("SYNOPSIS")
        page.verbatim("pglease COMMAND [OPTIONS]")
        page.heading("DESCRIPTION")
        page.verbatim(PgleaseCommand.helpMessage(columns: 78))
        page.heading("COMMANDS")
        add(PgleaseCommand.configuration.subcommands, under: "pglease", to: &page)
        page.heading("FILES")
        page.entry("/etc/pglease/pglease.ini", "The configuration of the service.")
        page.entry("/run/pglease/.s.PGSQL.6432", "The Unix socket that workers connect to.")
        page.heading("SEE ALSO")
        page.paragraph("pglease.ini(5), psql(1), pgbouncer(1)")
        return page.text
    }

    private static func add(
        _ commands: [any ParsableCommand.Type], under name: String, to page: inout Roff
    ) {
        for command in commands where command.configuration.shouldDisplay {
            let full = "\(name) \(command.configuration.commandName ?? "")"
            page.subheading(full)
            page.verbatim(PgleaseCommand.helpMessage(for: command, columns: 78))
            add(command.configuration.subcommands, under: full, to: &page)
        }
    }

    private static var settings: String {
        var page = Roff(
            "pglease.ini", section: 5, version: ProductVersion.text,
            "configuration of the connection broker pglease")
        page.heading("DESCRIPTION")
        page.paragraph(
            """
            Sections in brackets, lines of name = value, comments that begin with ; or #, in the format and with \
            the names of pgbouncer.ini, which is read as it is. Each setting can also be given as PGLEASE_NAME in \
            the environment, as PGLEASE_NAME_FILE, and as --set name=value. What comes later wins: defaults, file, \
            environment, command line. Durations are seconds, or have a unit: us, ms, s, min, h, d. \
            pglease check-config names every mistake of a file.
            """)
        page.heading("[databases]")
        page.paragraph(
            """
            name = where it is: keywords of libpq and of pglease, or a URI with further keys behind it; * stands for \
            every database without a line. Keys:
            """)
        page.paragraph(LineKeys.databases.joined(separator: ", ") + ".")
        page.heading("[users]")
        page.paragraph("name = limits of one role in every database. Keys:")
        page.paragraph(LineKeys.users.joined(separator: ", ") + ".")
        page.heading("[groups]")
        page.paragraph("name = the share of clients with one application_name. Keys:")
        page.paragraph(LineKeys.groups.joined(separator: ", ") + ".")
        page.heading("[peers]")
        page.paragraph("number = another broker that shares the port. Keys:")
        page.paragraph(LineKeys.peers.joined(separator: ", ") + ".")
        page.heading("[pglease]")
        page.paragraph(
            "The settings, each with its default. In a section [pgbouncer] the defaults are pgbouncer's."
        )
        for group in Settings.groups {
            page.subheading(group.title)
            for setting in group.settings {
                page.entry(setting.name, facts(setting), setting.summary)
            }
        }
        page.heading("SEE ALSO")
        page.paragraph("pglease(1), pgbouncer(5)")
        return page.text
    }

    private static func facts(_ setting: SettingDescription) -> String {
        var facts = ["Default: \(setting.defaultText.isEmpty ? "empty" : setting.defaultText)"]
        if let other = setting.pgbouncerDefaultText {
            facts.append("in [pgbouncer]: \(other.isEmpty ? "empty" : other)")
        }
        facts.append(setting.kind.shownValues)
        if !setting.changeable { facts.append("takes effect at the next start") }
        return facts.joined(separator: "; ") + "."
    }
}

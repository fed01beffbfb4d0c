// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Broker
import Glibc
import PostgresProbe

/// `pglease ping`: whether a broker serves, in the same words as `/readyz`.
struct PingCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ping",
        abstract: "Ask a broker whether it is ready, or alive.",
        usage: """
            pglease ping [--live] [--config <file>] [--set <name=value> ...]
                         [--host <folder|host>] [--port <number>] [--user <name>]
                         [--timeout <seconds>] [--quiet]
            """,
        discussion: """
            Ready is what /readyz calls ready: clients are let in, nothing is paused, and not every \
            server is down. --live asks only whether the broker answers: for what restarts it, since \
            a restart helps neither a pause nor a PostgreSQL that is away. Nobody has to log in. \
            \(BrokerAddressOptions.whereToAsk)

            EXIT STATUS
              0  ready; with --live: it answers
              1  it answers, and is not ready: paused, draining, every server down; or has no room
              2  no broker answers; a PostgreSQL or another pooler does not count
              3  wrong options or a wrong configuration
            """
    )

    @OptionGroup var place: BrokerAddressOptions

    @Flag(name: .long, help: "Ask only whether it answers.")
    var live = false

    @Flag(name: .shortAndLong, help: "Print nothing; the exit status tells.")
    var quiet = false

    mutating func run() throws {
        signal(SIGPIPE, SIG_IGN)
        let search = try place.findBroker(try ProcessEnvironment.read())
        let (status, text) = verdict(search)
        if !quiet { Output.line(text) }
        if status != 0 { throw ExitCode(status) }
    }

    private func verdict(_ search: BrokerSearch) -> (status: Int32, text: String) {
        if let (place, answer) = search.found {
            guard let reason = answer.reasonNotReady else { return (0, "\(place.address): ready") }
            return live
                ? (0, "\(place.address): alive (not ready: \(reason))")
                : (1, "\(place.address): not ready: \(reason)")
        }
        if let (place, text) = search.refusal { return (live ? 0 : 1, "\(place.address): \(text)") }
        return (2, (["no broker answers:"] + search.searched).joined(separator: "\n  "))
    }
}

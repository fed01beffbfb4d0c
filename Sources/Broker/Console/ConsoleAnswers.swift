// SPDX-License-Identifier: Apache-2.0

import BrokerConfiguration
import BrokerConsole
import LeaseCore
import Logging
import PostgresWire

/// The broker as one console client sees it.
struct ConsoleAnswers: ConsoleBackend {
    let broker: Broker
    let client: ClientConnection

    func applicationNameChanged(_ name: String) { client.applicationName = name }

    func show(_ command: ShowCommand, into rows: inout ConsoleRows) {
        broker.snapshot(of: command.parts).show(command, into: &rows)
    }

    func perform(
        _ command: ConsoleCommand, into reply: inout [UInt8]
    ) throws(ConsoleRefusal) -> ConsoleOutcome {
        broker.logger.notice(
            "console command",
            metadata: broker.describe(client, with: ["command": "\(command.name)"]))
        let outcome = try carryOut(command, into: &reply)
        // A reload tells of itself.
        if command != .reload {
            broker.note(
                .operatorAction, .notice, "\(command.name) by \"\(client.user)\"",
                cause: command.name, client: client)
        }
        return outcome
    }

    private func carryOut(
        _ command: ConsoleCommand, into reply: inout [UInt8]
    ) throws(ConsoleRefusal) -> ConsoleOutcome {
        switch command {
        case .reload:
            try reload(&reply)
            return ConsoleOutcome(tag: "RELOAD")
        case .shutDown(let mode):
            return ConsoleOutcome(tag: "SHUTDOWN", afterwards: .shutDown(mode))
        case .pause(let database):
            let wait = try broker.pause(database, by: actor("PAUSE"))
            return ConsoleOutcome(tag: "PAUSE", wait: wait)
        case .resume(let database):
            try broker.resume(database)
            return ConsoleOutcome(tag: "RESUME")
        case .suspend:
            throw ConsoleRefusal(
                .protocolViolation, "invalid command 'SUSPEND', use SHOW HELP;",
                detail: "SUSPEND was for pgbouncer's takeover of sockets (-R), which 1.26 has not.",
                hint:
                    "PAUSE stops the traffic; systemd's socket unit keeps the socket over a restart."
            )
        case .reconnect(let database):
            try broker.reconnect(database)
            return ConsoleOutcome(tag: "RECONNECT")
        case .waitClose(let database):
            return ConsoleOutcome(tag: "WAIT_CLOSE", wait: try broker.connectionsToClose(database))
        case .disable(let database):
            try broker.setDisabled(database, true)
            return ConsoleOutcome(tag: "DISABLE")
        case .enable(let database):
            try broker.setDisabled(database, false)
            return ConsoleOutcome(tag: "ENABLE")
        case .kill(let database):
            return ConsoleOutcome(tag: "KILL", wait: try broker.kill(database, by: actor("KILL")))
        case .killClient(let id):
            try broker.killClient(id)
            return ConsoleOutcome(tag: "KILL_CLIENT")
        case .killLease(let id):
            try broker.killLease(id)
            return ConsoleOutcome(tag: "KILL LEASE")
        case .set(let name, let value):
            try set(name, value, &reply)
            return ConsoleOutcome(tag: "SET")
        }
    }

    /// Who does what, for those who wait.
    private func actor(_ command: String) -> String {
        let process = client.processNumber.map { ", pid \($0)" } ?? ""
        return "\(command) of user \"\(client.user)\"\(process)"
    }

    private func set(
        _ name: String, _ value: String, _ reply: inout [UInt8]
    ) throws(ConsoleRefusal) {
        do throws(SettingValueError) {
            for warning in try broker.set(name, value) {
                reply.appendNoticeResponse(.notice("\(warning)"))
            }
        } catch {
            throw ConsoleRefusal(
                .protocolViolation, "SET failed", detail: "\(name): \(error.reason)",
                hint: error.advice)
        }
    }

    private func reload(_ reply: inout [UInt8]) throws(ConsoleRefusal) {
        let changes: [SettingChange]
        do throws(ConfigurationError) {
            changes = try broker.reload()
        } catch {
            broker.reloadRefused(error)
            let count = error.issues.count
            throw ConsoleRefusal(
                .configurationFileError,
                "RELOAD failed, see logs for additional details",
                detail:
                    "The configuration has \(count == 1 ? "an error" : "\(count) errors"), the old one stays in force.\n"
                    + error.issues.map(\.description).joined(separator: "\n"),
                hint: "Correct it, try it with pglease check-config, and RELOAD again.")
        }
        for change in changes { reply.appendNoticeResponse(.notice("\(change)")) }
        for warning in broker.configured.loaded.warnings {
            reply.appendNoticeResponse(
                PgError(severity: .warning, sqlState: .warning, message: "\(warning)"))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import LeaseClient
import Logging
import Workers

/// `pglease-workers migrate`: makes and completes the tables.
struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Make the tables of the config database, or add what they lack.",
        discussion: """
            May run at any time and as often as one likes: it changes nothing that is there, and \
            touches no table that is complete. The managers run it when they start.
            """)

    @OptionGroup var config: ConfigDatabaseOptions
    @OptionGroup var log: LogOptions

    func run() async throws {
        let logger = try log.makeLogger("migrate")
        do {
            let client = try config.makeClient(applicationName: "migrate")
            defer { client.close() }
            let made = try await Migration().run(client)
            for name in made { logger.info("made", metadata: ["name": "\(name)"]) }
            logger.info("the tables are complete", metadata: ["made": "\(made.count)"])
        } catch {
            logger.error("the migration failed", metadata: ["error": "\(error)"])
            throw WorkersExitStatus.of(error)
        }
    }
}

import ArgumentParser
import LeaseClient
import Workers

/// `pglease-workers migrate`: makes and completes the tables.
struct MigrateCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "migrate",
        abstract: "Make the tables of the config database, or add what they lack.")

    func run() async throws {
        let client = try LeaseClient()
        defer { client.close() }
        let made = try await Migration().run(client)
        for line in made { print("made \(line)") }
    }
}

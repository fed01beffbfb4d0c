// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import Workers

/// How the addresses in the tables lead to a broker.
struct BrokerRouteOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "The broker for sources and destinations: folder:port, @name:port or host:port.",
            discussion: """
                Else PGLEASE_BROKER. Without either, the host and port of each row are used as they \
                are, so the rows themselves must name the broker. With it, a row gives only its \
                database and user, and the broker needs an entry for each database.
                """,
            valueName: "address"))
    var broker: String?

    @Option(
        help: ArgumentHelp(
            "What the broker calls a row's database. Repeatable.",
            discussion: """
                For servers whose databases have one name: db1:5432/app=app_one. Else \
                PGLEASE_DATABASE_NAMES, with commas in between.
                """,
            valueName: "host:port/database=name"))
    var databaseName: [String] = []

    func route() throws -> BrokerRoute? {
        let mappings =
            databaseName.isEmpty
            ? (WorkersEnvironment.value("PGLEASE_DATABASE_NAMES") ?? "").split(separator: ",")
                .map(String.init) : databaseName
        guard let text = broker ?? WorkersEnvironment.value("PGLEASE_BROKER") else {
            if mappings.isEmpty { return nil }
            throw ValidationError("names of databases at the broker need --broker")
        }
        guard var route = BrokerRoute(text) else {
            throw ValidationError("\"\(text)\" is no address of a broker: use folder:port")
        }
        for mapping in mappings {
            guard let equals = mapping.lastIndex(of: "="), mapping.contains("/") else {
                throw ValidationError("\"\(mapping)\" is not of the form host:port/database=name")
            }
            let row = String(mapping[..<equals])
            route.databaseNames[row] = String(mapping[mapping.index(after: equals)...])
        }
        return route
    }
}

// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import Logging

/// Replicates by polling, where the source cannot decode its log: new and changed rows, no deletes.
final class PollingReplicator {
    private let definition: PipelineDefinition
    private let clients: DatabaseClients
    private let stop: StopSignal
    private let report: any ReplicationReport
    private let options: PipelineWorker.Options
    private let logger: Logger

    init(
        _ definition: PipelineDefinition, _ clients: DatabaseClients, _ stop: StopSignal,
        _ report: any ReplicationReport, _ options: PipelineWorker.Options, _ logger: Logger
    ) {
        self.definition = definition
        self.clients = clients
        self.stop = stop
        self.report = report
        self.options = options
        self.logger = logger
    }

    /// Runs until it is stopped or something fails. Throws ``Stopped`` and what leases and
    /// statements throw.
    func run(because reason: String, polling: () -> Void) throws {
        let source = try clients.client(for: definition.source.address)
        var polled: [(PipelineDefinition.Destination, LeaseClient, PolledTable)] = []
        for destination in definition.destinations {
            let client = try clients.client(for: destination.address)
            for table in destination.tables {
                polled.append(
                    (
                        destination, client,
                        try PolledTable(table, destination, source: source, target: client)
                    ))
            }
            report.destinationWorks(destination.id)
        }
        let tables = polled.map { $0.2.description }.joined(separator: ", ")
        logger.warning(
            "replication runs by polling: deletes are not seen",
            metadata: ["mode": "polling", "reason": "\(reason)", "tables": "\(tables)"])
        polling()
        while true {
            for (destination, client, table) in polled {
                try look(table, destination, source, client)
            }
            if stop.wait(for: options.pollingInterval) { throw Stopped() }
        }
    }

    private func look(
        _ table: PolledTable, _ destination: PipelineDefinition.Destination, _ source: LeaseClient,
        _ client: LeaseClient
    ) throws {
        do {
            let count = try table.look(source: source, target: client, stop)
            if count > 0 { report.applied([table.table.id: count], to: destination.id) }
        } catch {
            try stop.check()
            throw PipelineFailure(error, during: "\(table.table.source)")
        }
    }
}

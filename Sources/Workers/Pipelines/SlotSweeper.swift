// SPDX-License-Identifier: Apache-2.0

import LeaseClient
import Logging
import Synchronization

/// Drops slots of pipelines that were removed, on a thread of its own while there are any: a source
/// that does not answer holds up nobody.
final class SlotSweeper: Sendable {
    private struct State {
        var thread: BlockingThread?
        var isBusy = false
        /// Told once each.
        var warned: Set<String> = []
    }

    private let sources: DatabaseClients
    private let stop: StopSignal
    private let logger: Logger
    /// Takes what the config database is to be told.
    private let note: @Sendable (SQL) -> Void
    private let state = Mutex(State())

    init(
        _ sources: DatabaseClients, _ stop: StopSignal, _ logger: Logger,
        note: @escaping @Sendable (SQL) -> Void
    ) {
        self.sources = sources
        self.stop = stop
        self.logger = logger
        self.note = note
    }

    /// Returns at once. What it does not get done now is in the next list, too.
    func sweep(_ orphans: [PipelineSlots.Orphan]) {
        if orphans.isEmpty || state.withLock({ $0.isBusy }) { return }
        join()
        state.withLock { state in
            state.isBusy = true
            state.thread = BlockingThread {
                for orphan in orphans { self.drop(orphan) }
                self.state.withLock { $0.isBusy = false }
            }
        }
    }

    /// Ends waits for leases, and waits for the thread.
    func close() {
        sources.close()
        join()
    }

    private func join() { state.withLock { $0.thread.take() }?.join() }

    private func drop(_ orphan: PipelineSlots.Orphan) {
        do {
            let isGone = try sources.client(for: orphan.address).withLease(
                for: "pipelines.slots", wait: .seconds(5), retry: .once
            ) { connection in
                try stop.reacting(with: .cancel(connection.canceller)) {
                    try drop(orphan, connection)
                }
            }
            guard isGone else { return }
            logger.info(
                "the replication slot of a removed pipeline is dropped",
                metadata: ["slot": "\(orphan.name)"])
            note(PipelineSlots.forget(orphan))
        } catch {
            if !stop.isRequested, state.withLock({ $0.warned.insert(orphan.name).inserted }) {
                logger.warning(
                    """
                    the replication slot of a removed pipeline cannot be dropped yet; until it is, \
                    the source keeps its log: SELECT pg_drop_replication_slot(…) there
                    """,
                    metadata: ["slot": "\(orphan.name)", "error": "\(error)"])
            }
        }
    }

    /// Returns whether it is gone. One that is read is left until its reader has ended.
    private func drop(
        _ orphan: PipelineSlots.Orphan, _ connection: LeaseConnection
    ) throws -> Bool {
        try connection.query(
            """
            SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
            WHERE slot_name = \(orphan.name) AND database = current_database() AND NOT active
            """)
        return try connection.query(
            "SELECT FROM pg_replication_slots WHERE slot_name = \(orphan.name)"
        ).isEmpty
    }
}

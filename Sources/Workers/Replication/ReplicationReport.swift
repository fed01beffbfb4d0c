// SPDX-License-Identifier: Apache-2.0

/// Takes what a replicator has to tell of itself. Calls come from the replicating thread and return
/// at once.
protocol ReplicationReport: Sendable {
    /// Changes flow.
    func running()
    /// It cannot go on, or not now.
    func failed(_ failure: PipelineFailure)
    /// One destination does not take its rows.
    func destinationFailed(_ destination: Int, _ failure: PipelineFailure)
    func destinationWorks(_ destination: Int)
    /// Rows that were applied, by the id of their table's sync.
    func applied(_ rows: [Int: Int], to destination: Int)
}

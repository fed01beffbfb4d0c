// SPDX-License-Identifier: Apache-2.0

/// What the pipeline manager adds to the tables of the reference.
extension TableDefinition {
    /// Which manager runs a pipeline. A claim is in force while its owner is heard of, by the
    /// database's clock.
    static let pipelineClaim = TableDefinition(
        name: "pglease_pipeline_claim",
        definition: """
            pipeline_id integer PRIMARY KEY REFERENCES pipelines (id) ON DELETE CASCADE,
            owner text NOT NULL,
            claimed_at timestamptz NOT NULL DEFAULT now(),
            heartbeat_at timestamptz NOT NULL DEFAULT now()
            """)
}

// SPDX-License-Identifier: Apache-2.0

/// What one pipeline replicates, from where and to where, as the config database has it.
struct PipelineDefinition: Equatable, Sendable {
    var id: Int
    var name: String
    var source: Source
    var destinations: [Destination]

    struct Source: Equatable, Sendable {
        var id: Int
        var address: DatabaseAddress
        var publication: String
        var slot: String
        /// Made when they are missing (`is_publication_enabled`, `is_replication_enabled`); else
        /// their absence is an error.
        var createsPublication: Bool
        var createsSlot: Bool
    }

    struct Destination: Equatable, Sendable {
        /// Of its row in pipelines_destination.
        var id: Int
        var name: String
        var address: DatabaseAddress
        var schema: String
        var tables: [Table]
        /// Tables that this worker leaves alone.
        var refused: [RefusedTable] = []
    }

    /// A table that is wanted in a way that this worker cannot give.
    struct RefusedTable: Equatable, Sendable {
        /// Of its row in pipelines_destination_table_sync.
        var id: Int
        var name: String
        var reason: String
    }

    struct Table: Equatable, Sendable {
        /// Of its row in pipelines_destination_table_sync.
        var id: Int
        var source: TableName
        var target: TableName
        /// Which rows this destination takes; nil: all.
        var filter: FilterExpression?
        /// For polling: the key or timestamp column, when one is configured.
        var pollingColumn: String?
    }

    /// The source's tables that any destination wants, each once.
    var sourceTables: [TableName] {
        Set(destinations.flatMap { $0.tables.map(\.source) }).sorted {
            ($0.schema, $0.name) < ($1.schema, $1.name)
        }
    }

    /// What the pipeline calls itself everywhere: its group at the broker, which has the cap.
    var applicationName: String { "pipeline-\(name)" }
}

// SPDX-License-Identifier: Apache-2.0

/// A table of the config database, as the reference has it, and what the managers add to it.
struct TableDefinition: Sendable {
    var name: String
    /// What stands between the brackets of CREATE TABLE.
    var definition: String
    /// Columns that a table of the reference does not have. They are nullable or have a default, so
    /// that programs which do not know them still insert.
    var addedColumns: [(name: String, type: String)] = []
    var indexes: [(name: String, definition: String)] = []

    /// In the order in which foreign keys allow them to be made.
    static let all: [TableDefinition] = [
        sources, destinations, pipelines, pipelinesDestination, tableSync, pipelineMetadata,
        tableMetadata, dataFlow, notificationLog, settings, queue,
        pipelineClaim, pipelineSlot,
    ]

    private static let timestamps = """
        created_at timestamptz DEFAULT now(),
        updated_at timestamptz DEFAULT now()
        """

    static let sources = TableDefinition(
        name: "sources",
        definition: """
            id serial PRIMARY KEY,
            name varchar(255) NOT NULL UNIQUE,
            pg_host varchar(255) NOT NULL,
            pg_port integer NOT NULL DEFAULT 5432,
            pg_database varchar(255) NOT NULL,
            pg_username varchar(255) NOT NULL,
            pg_password varchar(255),
            publication_name varchar(255) NOT NULL,
            replication_name varchar(255) NOT NULL,
            is_publication_enabled boolean NOT NULL DEFAULT false,
            is_replication_enabled boolean NOT NULL DEFAULT false,
            last_check_replication_publication timestamptz,
            total_tables integer NOT NULL DEFAULT 0,
            \(timestamps)
            """)

    static let destinations = TableDefinition(
        name: "destinations",
        definition: """
            id serial PRIMARY KEY,
            name varchar(255) NOT NULL UNIQUE,
            type varchar(50) NOT NULL DEFAULT 'SNOWFLAKE',
            config jsonb NOT NULL DEFAULT '{}',
            \(timestamps)
            """)

    static let pipelines = TableDefinition(
        name: "pipelines",
        definition: """
            id serial PRIMARY KEY,
            name varchar(255) NOT NULL UNIQUE,
            source_id integer NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
            status varchar(20) NOT NULL DEFAULT 'PAUSE',
            ready_refresh boolean NOT NULL DEFAULT false,
            last_refresh_at timestamptz,
            \(timestamps)
            """)

    static let pipelinesDestination = TableDefinition(
        name: "pipelines_destination",
        definition: """
            id serial PRIMARY KEY,
            pipeline_id integer NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
            destination_id integer NOT NULL REFERENCES destinations (id) ON DELETE CASCADE,
            is_error boolean NOT NULL DEFAULT false,
            error_message text,
            last_error_at timestamptz,
            \(timestamps)
            """)

    static let tableSync = TableDefinition(
        name: "pipelines_destination_table_sync",
        definition: """
            id serial PRIMARY KEY,
            pipeline_destination_id integer NOT NULL
                REFERENCES pipelines_destination (id) ON DELETE CASCADE,
            table_name varchar(255) NOT NULL,
            table_name_target varchar(255),
            custom_sql text,
            filter_sql text,
            is_exists_table_landing boolean NOT NULL DEFAULT false,
            is_exists_stream boolean NOT NULL DEFAULT false,
            is_exists_task boolean NOT NULL DEFAULT false,
            is_exists_table_destination boolean NOT NULL DEFAULT false,
            is_error boolean NOT NULL DEFAULT false,
            error_message text,
            \(timestamps)
            """,
        // What a pipeline orders a table's changes by where the source cannot decode its log.
        addedColumns: [("polling_column", "text")])

    static let pipelineMetadata = TableDefinition(
        name: "pipeline_metadata",
        definition: """
            id serial PRIMARY KEY,
            pipeline_id integer NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
            status varchar(20) NOT NULL DEFAULT 'RUNNING',
            last_error text,
            last_error_at timestamptz,
            last_start_at timestamptz,
            \(timestamps),
            CONSTRAINT uq_pipeline_metadata_pipeline_id UNIQUE (pipeline_id)
            """)

    static let tableMetadata = TableDefinition(
        name: "table_metadata_list",
        definition: """
            id serial PRIMARY KEY,
            source_id integer NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
            table_name varchar(255) NOT NULL,
            schema_table jsonb,
            is_changes_schema boolean NOT NULL DEFAULT false,
            \(timestamps),
            UNIQUE (source_id, table_name)
            """)

    static let dataFlow = TableDefinition(
        name: "data_flow_record_monitoring",
        definition: """
            id serial PRIMARY KEY,
            pipeline_id integer NOT NULL REFERENCES pipelines (id) ON DELETE CASCADE,
            pipeline_destination_id integer
                REFERENCES pipelines_destination (id) ON DELETE CASCADE,
            source_id integer NOT NULL REFERENCES sources (id) ON DELETE CASCADE,
            pipeline_destination_table_sync_id integer NOT NULL
                REFERENCES pipelines_destination_table_sync (id) ON DELETE CASCADE,
            table_name varchar(255) NOT NULL,
            record_count bigint NOT NULL DEFAULT 0,
            \(timestamps)
            """,
        indexes: [
            ("idx_data_flow_record_monitoring_pipeline_id", "(pipeline_id)"),
            ("idx_data_flow_record_monitoring_created_at", "(created_at)"),
        ])

    static let notificationLog = TableDefinition(
        name: "notification_log",
        definition: """
            id serial PRIMARY KEY,
            key_notification varchar(255) NOT NULL,
            title varchar(255) NOT NULL,
            message text NOT NULL,
            type varchar(50) NOT NULL,
            is_read boolean NOT NULL DEFAULT false,
            is_deleted boolean NOT NULL DEFAULT false,
            iteration_check integer NOT NULL DEFAULT 0,
            is_sent boolean NOT NULL DEFAULT false,
            is_force_sent boolean NOT NULL DEFAULT false,
            \(timestamps)
            """)

    static let settings = TableDefinition(
        name: "rosetta_setting_configuration",
        definition: """
            id serial PRIMARY KEY,
            config_key varchar(255) NOT NULL UNIQUE,
            config_value text NOT NULL,
            \(timestamps)
            """)
}

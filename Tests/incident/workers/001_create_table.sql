CREATE TABLE IF NOT EXISTS sources (
    id serial PRIMARY KEY, name varchar(255) NOT NULL UNIQUE, pg_host varchar(255) NOT NULL,
    pg_port int NOT NULL DEFAULT 5432, pg_database varchar(255) NOT NULL, pg_username varchar(255) NOT NULL,
    pg_password text, publication_name varchar(255) NOT NULL, replication_name varchar(255) NOT NULL,
    is_publication_enabled boolean DEFAULT false, is_replication_enabled boolean DEFAULT false,
    last_check_replication_publication timestamptz, total_tables int DEFAULT 0,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS destinations (
    id serial PRIMARY KEY, name varchar(255) NOT NULL UNIQUE, type varchar(50) NOT NULL DEFAULT 'SNOWFLAKE',
    config jsonb NOT NULL DEFAULT '{}', created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS pipelines (
    id serial PRIMARY KEY, name varchar(255) NOT NULL UNIQUE,
    source_id int NOT NULL REFERENCES sources ON DELETE CASCADE, status varchar(20) NOT NULL DEFAULT 'PAUSE',
    ready_refresh boolean DEFAULT false, last_refresh_at timestamptz,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS pipelines_destination (
    id serial PRIMARY KEY, pipeline_id int NOT NULL REFERENCES pipelines ON DELETE CASCADE,
    destination_id int NOT NULL REFERENCES destinations ON DELETE CASCADE,
    is_error boolean DEFAULT false, error_message text, last_error_at timestamptz,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS pipelines_destination_table_sync (
    id serial PRIMARY KEY,
    pipeline_destination_id int NOT NULL REFERENCES pipelines_destination ON DELETE CASCADE,
    table_name varchar(255) NOT NULL, table_name_target varchar(255) NOT NULL, custom_sql text, filter_sql text,
    is_exists_table_landing boolean DEFAULT false, is_exists_stream boolean DEFAULT false,
    is_exists_task boolean DEFAULT false, is_exists_table_destination boolean DEFAULT false,
    is_error boolean DEFAULT false, error_message text,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS pipeline_metadata (
    id serial PRIMARY KEY, pipeline_id int NOT NULL REFERENCES pipelines ON DELETE CASCADE,
    status varchar(20) NOT NULL DEFAULT 'RUNNING', last_error text, last_error_at timestamptz,
    last_start_at timestamptz, created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now(),
    CONSTRAINT uq_pipeline_metadata_pipeline_id UNIQUE (pipeline_id));
CREATE TABLE IF NOT EXISTS table_metadata_list (
    id serial PRIMARY KEY, source_id int NOT NULL REFERENCES sources ON DELETE CASCADE,
    table_name varchar(255) NOT NULL, schema_table jsonb DEFAULT '{}', is_changes_schema boolean DEFAULT false,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now(), UNIQUE (source_id, table_name));
CREATE TABLE IF NOT EXISTS data_flow_record_monitoring (
    id serial PRIMARY KEY, pipeline_id int NOT NULL, pipeline_destination_id int, source_id int NOT NULL,
    pipeline_destination_table_sync_id int NOT NULL, table_name varchar(255) NOT NULL,
    record_count bigint NOT NULL, created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS notification_log (
    id serial PRIMARY KEY, key_notification varchar(255) NOT NULL, title varchar(255) NOT NULL,
    message text NOT NULL, type varchar(50) NOT NULL, is_read boolean DEFAULT false,
    is_deleted boolean DEFAULT false, iteration_check int DEFAULT 0, is_sent boolean DEFAULT false,
    is_force_sent boolean DEFAULT false,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS rosetta_setting_configuration (
    id serial PRIMARY KEY, config_key varchar(255) NOT NULL UNIQUE, config_value text,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now());
CREATE TABLE IF NOT EXISTS queue_backfill_data (
    id serial PRIMARY KEY, pipeline_id int NOT NULL REFERENCES pipelines ON DELETE CASCADE,
    source_id int NOT NULL REFERENCES sources ON DELETE CASCADE, table_name varchar(255) NOT NULL,
    filter_sql text, status varchar(20) NOT NULL DEFAULT 'PENDING', count_record bigint NOT NULL DEFAULT 0,
    total_record bigint NOT NULL DEFAULT 0, resume_attempts int NOT NULL DEFAULT 0,
    is_error boolean NOT NULL DEFAULT false, error_message text,
    created_at timestamptz DEFAULT now(), updated_at timestamptz DEFAULT now(), last_pk_value text, pk_column text);
CREATE INDEX IF NOT EXISTS idx_queue_backfill_data_pipeline_id ON queue_backfill_data (pipeline_id);
CREATE INDEX IF NOT EXISTS idx_queue_backfill_data_source_id ON queue_backfill_data (source_id);
CREATE INDEX IF NOT EXISTS idx_queue_backfill_data_created_at ON queue_backfill_data (created_at);
CREATE INDEX IF NOT EXISTS idx_queue_backfill_data_updated_at ON queue_backfill_data (updated_at);
CREATE INDEX IF NOT EXISTS idx_queue_backfill_data_status ON queue_backfill_data (status);
INSERT INTO rosetta_setting_configuration (config_key, config_value)
    VALUES ('NOTIFICATION_ITERATION_DEFAULT', '3') ON CONFLICT (config_key) DO NOTHING;

# SPDX-License-Identifier: Apache-2.0
"""The repositories: each call is a lease of its own, and two of them hold it while they ask for more."""

import functools
import logging
import time

import psycopg2

from .database import DatabaseSession

logger = logging.getLogger("core.repository")

NOW = "TIMEZONE('Asia/Jakarta', NOW())"


def with_retry(method):
    """Three more tries for the driver's errors; they hardly ever come through as such."""

    @functools.wraps(method)
    def tried(*arguments, **named):
        for delay in (0.5, 1.0, 2.0):
            try:
                return method(*arguments, **named)
            except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
                logger.warning("%s failed, retrying in %ss: %s", method.__name__, delay, error)
                time.sleep(delay)
        return method(*arguments, **named)

    return tried


class SourceRepository:
    @staticmethod
    def get_by_id(source_id):
        with DatabaseSession() as session:
            session.execute("SELECT * FROM sources WHERE id = %s", (source_id,))
            return session.fetchone()


class DestinationRepository:
    @staticmethod
    def get_by_id(destination_id):
        with DatabaseSession() as session:
            session.execute("SELECT * FROM destinations WHERE id = %s", (destination_id,))
            return session.fetchone()


class TableSyncRepository:
    @staticmethod
    def get_by_pipeline_destination_id(pipeline_destination_id):
        with DatabaseSession() as session:
            session.execute(
                "SELECT * FROM pipelines_destination_table_sync"
                " WHERE pipeline_destination_id = %s ORDER BY id", (pipeline_destination_id,))
            return session.fetchall()

    @staticmethod
    def update_error(table_sync_id, is_error, message=None):
        with DatabaseSession() as session:
            session.execute(
                "UPDATE pipelines_destination_table_sync SET is_error = %s, error_message = %s,"
                f" updated_at = {NOW} WHERE id = %s", (is_error, message, table_sync_id))


class PipelineDestinationRepository:
    @staticmethod
    def get_by_pipeline_id(pipeline_id, include_table_syncs=False):
        with DatabaseSession() as session:
            session.execute(
                "SELECT pd.*, d.name AS destination_name, d.type AS destination_type,"
                " d.config AS destination_config FROM pipelines_destination pd"
                " JOIN destinations d ON d.id = pd.destination_id"
                " WHERE pd.pipeline_id = %s ORDER BY pd.id", (pipeline_id,))
            found = session.fetchall()
            if include_table_syncs:
                for one in found:
                    # Defect D2: the lease and its transaction are kept meanwhile.
                    one["table_syncs"] = TableSyncRepository.get_by_pipeline_destination_id(
                        one["id"])
            return found

    @staticmethod
    def update_error(pipeline_destination_id, is_error, message=None):
        with DatabaseSession() as session:
            session.execute(
                "UPDATE pipelines_destination SET is_error = %s, error_message = %s,"
                f" last_error_at = CASE WHEN %s THEN {NOW} ELSE NULL END, updated_at = {NOW}"
                " WHERE id = %s", (is_error, message, is_error, pipeline_destination_id))


class PipelineRepository:
    @staticmethod
    @with_retry
    def get_by_id(pipeline_id, include_relations=False):
        with DatabaseSession() as session:
            session.execute("SELECT * FROM pipelines WHERE id = %s", (pipeline_id,))
            pipeline = session.fetchone()
            if pipeline is not None and include_relations:
                # Defect D2: up to three leases in one thread.
                pipeline["source"] = SourceRepository.get_by_id(pipeline["source_id"])
                pipeline["destinations"] = PipelineDestinationRepository.get_by_pipeline_id(
                    pipeline_id, include_table_syncs=True)
            return pipeline

    @staticmethod
    def get_all():
        with DatabaseSession() as session:
            session.execute("SELECT * FROM pipelines ORDER BY id")
            return session.fetchall()

    @staticmethod
    @with_retry
    def update_status(pipeline_id, status):
        with DatabaseSession() as session:
            session.execute(f"UPDATE pipelines SET status = %s, updated_at = {NOW} WHERE id = %s",
                            (status, pipeline_id))


class PipelineMetadataRepository:
    @staticmethod
    @with_retry
    def upsert(pipeline_id, status, last_error=None):
        try:
            with DatabaseSession() as session:
                if last_error:
                    session.execute(
                        "INSERT INTO pipeline_metadata (pipeline_id, status, last_error,"
                        f" last_error_at, updated_at) VALUES (%s, %s, %s, {NOW}, {NOW})"
                        " ON CONFLICT (pipeline_id) DO UPDATE SET status = EXCLUDED.status,"
                        " last_error = EXCLUDED.last_error, last_error_at = EXCLUDED.last_error_at,"
                        " updated_at = EXCLUDED.updated_at RETURNING id",
                        (pipeline_id, status, last_error))
                else:
                    session.execute(
                        "INSERT INTO pipeline_metadata (pipeline_id, status, last_start_at,"
                        f" updated_at) VALUES (%s, %s, {NOW}, {NOW})"
                        " ON CONFLICT (pipeline_id) DO UPDATE SET status = EXCLUDED.status,"
                        " updated_at = EXCLUDED.updated_at, last_start_at = CASE"
                        " WHEN EXCLUDED.status = 'RUNNING' THEN EXCLUDED.last_start_at"
                        " ELSE pipeline_metadata.last_start_at END RETURNING id",
                        (pipeline_id, status))
                return session.fetchone()["id"]
        except Exception as error:
            logger.error("Error upserting pipeline metadata: %s", error)
            return 0


class TableMetadataRepository:
    @staticmethod
    def get_table_names_for_source(source_id):
        with DatabaseSession() as session:
            session.execute("SELECT table_name FROM table_metadata_list WHERE source_id = %s"
                            " ORDER BY table_name", (source_id,))
            return [row["table_name"] for row in session.fetchall()]


class DataFlowRepository:
    @staticmethod
    def increment_count(pipeline_id, pipeline_destination_id, source_id, table_sync_id, table_name,
                        count):
        with DatabaseSession() as session:
            session.execute(
                "INSERT INTO data_flow_record_monitoring (pipeline_id, pipeline_destination_id,"
                " source_id, pipeline_destination_table_sync_id, table_name, record_count)"
                " VALUES (%s, %s, %s, %s, %s, %s)",
                (pipeline_id, pipeline_destination_id, source_id, table_sync_id, table_name, count))


class NotificationLogRepository:
    @staticmethod
    def get_latest(key):
        """The anti-spam look."""
        with DatabaseSession() as session:
            session.execute("SELECT created_at, is_sent, is_read FROM notification_log"
                            " WHERE key_notification = %s ORDER BY created_at DESC LIMIT 1", (key,))
            return session.fetchone()

    @staticmethod
    def upsert_notification_by_key(key, title, message, kind, is_force_sent=False):
        with DatabaseSession() as session:
            session.execute(
                "SELECT id, iteration_check FROM notification_log WHERE key_notification = %s"
                " AND is_deleted = false ORDER BY created_at DESC LIMIT 1", (key,))
            found = session.fetchone()
            session.execute("SELECT config_value FROM rosetta_setting_configuration"
                            " WHERE config_key = 'NOTIFICATION_ITERATION_DEFAULT'")
            limit = int((session.fetchone() or {"config_value": 3})["config_value"])
            if found is None:
                session.execute(
                    "INSERT INTO notification_log (key_notification, title, message, type,"
                    " is_force_sent) VALUES (%s, %s, %s, %s, %s) RETURNING id",
                    (key, title, message, kind, is_force_sent))
            elif is_force_sent or found["iteration_check"] < limit:
                session.execute(
                    "UPDATE notification_log SET iteration_check = iteration_check + 1,"
                    f" message = %s, updated_at = {NOW} WHERE id = %s", (message, found["id"]))

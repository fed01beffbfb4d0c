# SPDX-License-Identifier: Apache-2.0
"""What runs in a pipeline's process: the engine, and a loop in place of Debezium."""

import itertools
import logging
import os
import time

from .database import init_connection_pool
from .destination import PostgresDestination
from .repository import (
    DataFlowRepository, NotificationLogRepository, PipelineDestinationRepository,
    PipelineMetadataRepository, PipelineRepository, TableMetadataRepository, TableSyncRepository)
from .source import validate_replication_setup

logger = logging.getLogger("core.engine")

ROWS_OF_A_BATCH = 5


class PipelineEngine:
    def __init__(self, pipeline_id):
        self.pipeline_id, self.pipeline = pipeline_id, None
        self.destinations = []

    def initialize(self):
        self.pipeline = PipelineRepository.get_by_id(self.pipeline_id, include_relations=True)
        if not self.pipeline or not self.pipeline["source"] or not self.pipeline["destinations"]:
            raise RuntimeError(f"pipeline {self.pipeline_id} is not complete")
        for link in self.pipeline["destinations"]:
            row = {"id": link["destination_id"], "config": link["destination_config"]}
            destination = PostgresDestination(row)
            try:
                destination.initialize()
                if link["is_error"]:
                    PipelineDestinationRepository.update_error(link["id"], False)
                    link["is_error"] = False
            except Exception as error:
                logger.error("Failed to initialise destination: %s", str(error).strip())
                PipelineDestinationRepository.update_error(link["id"], True, str(error)[:500])
                link["is_error"] = True
            self.destinations.append((destination, link))

    def run(self):
        source = self.pipeline["source"]
        tables = TableMetadataRepository.get_table_names_for_source(source["id"])
        if not tables:
            raise RuntimeError(f"source {source['name']} has no tables")
        validate_replication_setup(source)
        PipelineMetadataRepository.upsert(self.pipeline_id, "RUNNING")
        self._stream()

    def _stream(self):
        """Debezium's place: a batch for the pipeline's own table at every poll, for ever."""
        interval = int(os.environ.get("PIPELINE_POLL_INTERVAL_MS", "500")) / 1000
        table = f"events_{self.pipeline_id}"
        start = time.time_ns()
        for number in itertools.count():
            first = start + number * ROWS_OF_A_BATCH
            rows = [(first + i, f"event {first + i}") for i in range(ROWS_OF_A_BATCH)]
            for destination, link in self.destinations:
                for sync in link["table_syncs"]:
                    if sync["table_name"] == table:
                        self._write(destination, link, sync, ["id", "name"], rows)
            time.sleep(interval)

    def _write(self, destination, link, sync, columns, rows):
        try:
            destination.write_batch(sync["table_name_target"], columns, rows)
            DataFlowRepository.increment_count(
                self.pipeline_id, link["id"], self.pipeline["source_id"], sync["id"],
                "LANDING_" + sync["table_name"].upper(), len(rows))
            if link["is_error"] or sync["is_error"]:
                TableSyncRepository.update_error(sync["id"], False)
                PipelineDestinationRepository.update_error(link["id"], False)
                link["is_error"] = sync["is_error"] = False
        except Exception as error:
            logger.error("Failed to write CDC batch: %s", str(error).strip())
            self._note_failure(link, sync, str(error)[:500])

    def _note_failure(self, link, sync, text):
        """Four leases, one after the other; the rows go to the dead-letter queue in production."""
        try:
            key = f"cdc_{self.pipeline_id}_{sync['id']}"
            if NotificationLogRepository.get_latest(key) is None:
                NotificationLogRepository.upsert_notification_by_key(
                    key, "CDC error", text, "ERROR")
            TableSyncRepository.update_error(sync["id"], True, text)
            PipelineDestinationRepository.update_error(link["id"], True, text)
            link["is_error"] = sync["is_error"] = True
        except Exception as error:
            logger.error("Failed to note the CDC error: %s", str(error).strip())

    def stop(self):
        for destination, _ in self.destinations:
            destination.close()
        # Defect D11: overwrites ERROR.
        if self.pipeline is not None:
            PipelineMetadataRepository.upsert(self.pipeline_id, "PAUSED")


def run_pipeline(pipeline_id, _stop_event):
    """The process's main function; nobody looks at the stop event."""
    engine = None
    try:
        init_connection_pool(2, int(os.environ.get("PIPELINE_POOL_MAX_CONN", "20")))
        engine = PipelineEngine(pipeline_id)
        engine.initialize()
        engine.run()
    except Exception as error:
        logger.error("Pipeline %s crashed: %s", pipeline_id, str(error).strip())
        PipelineMetadataRepository.upsert(pipeline_id, "ERROR", str(error)[:500])
    finally:
        if engine is not None:
            engine.stop()

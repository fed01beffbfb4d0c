# SPDX-License-Identifier: Apache-2.0
"""The BackfillManager: polls for jobs, a thread for each, every status change its own lease."""

import logging
import threading
import time

from .database import DatabaseSession
from .destination import PostgresDestination
from .repository import (
    NOW, DataFlowRepository, DestinationRepository, PipelineRepository, SourceRepository)
from .source import Source

logger = logging.getLogger("core.backfill_manager")

MAX_RESUME_ATTEMPTS = 3


class BackfillManager:
    def __init__(self, check_interval=5, batch_size=10000):
        self.check_interval, self.batch_size = check_interval, batch_size
        self.active, self.active_lock = {}, threading.Lock()
        self.stop_flag = threading.Event()
        self.monitor = None

    def start(self):
        self._recover_stale_jobs()
        self.monitor = threading.Thread(target=self._monitor_queue, daemon=True)
        self.monitor.start()

    def stop(self):
        """Defect D7: joins while it holds the lock that a job's end needs."""
        self.stop_flag.set()
        with self.active_lock:
            for thread in self.active.values():
                thread.join(30)

    def _recover_stale_jobs(self):
        try:
            with DatabaseSession() as session:
                session.execute(
                    "SELECT id, pipeline_id, count_record, total_record, resume_attempts,"
                    " last_pk_value FROM queue_backfill_data WHERE status = 'EXECUTING'"
                    " ORDER BY created_at")
                for job in session.fetchall():
                    if (job["resume_attempts"] or 0) >= MAX_RESUME_ATTEMPTS:
                        session.execute(
                            "UPDATE queue_backfill_data SET status = 'FAILED', error_message ="
                            " 'Maximum resume attempts exceeded after compute restart',"
                            f" updated_at = {NOW} WHERE id = %s", (job["id"],))
                    else:
                        session.execute("UPDATE queue_backfill_data SET status = 'PENDING',"
                                        f" updated_at = {NOW} WHERE id = %s", (job["id"],))
        except Exception as error:
            logger.error("Error recovering stale jobs: %s", error)

    def _monitor_queue(self):
        while not self.stop_flag.is_set():
            for job in self._fetch_pending_jobs():
                with self.active_lock:
                    if job["id"] in self.active:
                        continue
                    thread = threading.Thread(target=self._execute_job, args=(job,), daemon=True)
                    self.active[job["id"]] = thread
                thread.start()
            time.sleep(self.check_interval)

    def _fetch_pending_jobs(self):
        """Ten at a time, not claimed: one that runs and could not say so takes a place (D5, D8)."""
        try:
            with DatabaseSession() as session:
                session.execute(
                    "SELECT q.*, s.pg_host, s.pg_port, s.pg_database, s.pg_username, s.pg_password"
                    " FROM queue_backfill_data q JOIN sources s ON s.id = q.source_id"
                    " WHERE q.status = 'PENDING' ORDER BY q.created_at LIMIT 10")
                return session.fetchall()
        except Exception as error:
            logger.error("Error fetching pending jobs: %s", error)
            return []

    def _execute_job(self, job):
        try:
            self._update_status(job["id"], "EXECUTING", is_error=False, attempt=True)
            total = self._process(job)
            if self._is_cancelled(job["id"]):
                return
            self._update_status(job["id"], "COMPLETED", is_error=False, count=total)
            logger.info("Backfill job %s completed: %s records", job["id"], total)
        except Exception as error:
            logger.error("Backfill job %s failed: %s", job["id"], str(error).strip())
            self._update_status(job["id"], "FAILED", is_error=True, message=str(error)[:500])
        finally:
            with self.active_lock:
                self.active.pop(job["id"], None)

    # Each of these is a lease and a transaction; what goes wrong in it is logged and forgotten (D5).

    def _update(self, what, job_id, assignments, arguments):
        try:
            with DatabaseSession() as session:
                session.execute(
                    f"UPDATE queue_backfill_data SET {assignments}, updated_at = {NOW}"
                    " WHERE id = %s", (*arguments, job_id))
        except Exception as error:
            logger.error("Error updating job %s: %s", what, str(error).strip())

    def _update_status(self, job_id, status, is_error, attempt=False, count=None, message=None):
        assignments, arguments = "status = %s, is_error = %s", [status, is_error]
        if attempt:
            assignments += ", resume_attempts = COALESCE(resume_attempts, 0) + 1"
        if count is not None:
            assignments, arguments = assignments + ", count_record = %s", arguments + [count]
        if message is not None:
            assignments, arguments = assignments + ", error_message = %s", arguments + [message]
        self._update("status", job_id, assignments, arguments)

    def _is_cancelled(self, job_id):
        try:
            with DatabaseSession() as session:
                session.execute("SELECT status FROM queue_backfill_data WHERE id = %s", (job_id,))
                row = session.fetchone()
                return row is not None and row["status"] == "CANCELLED"
        except Exception as error:
            logger.error("Error checking job cancellation: %s", str(error).strip())
            return False

    # The work.

    def _create_destinations_for_job(self, job):
        """Pairs of (destination, its table_sync) for the job's table; an empty list when it fails."""
        made = []
        try:
            pipeline = PipelineRepository.get_by_id(job["pipeline_id"], include_relations=True)
            source = SourceRepository.get_by_id(job["source_id"])
            if pipeline is None or source is None:
                raise RuntimeError("pipeline or source is missing")
            for link in pipeline["destinations"]:
                for sync in link["table_syncs"]:
                    if sync["table_name"] == job["table_name"]:
                        made += self._create_destination(link, sync)
        except Exception as error:
            logger.error("Error creating destinations for job %s: %s", job["id"],
                         str(error).strip())
        return made

    @staticmethod
    def _create_destination(link, sync):
        try:
            row = DestinationRepository.get_by_id(link["destination_id"])
            if row["type"].upper() != "POSTGRES":
                logger.warning("Destination type %s is not supported", row["type"])
                return []
            destination = PostgresDestination(row)
            destination.initialize()
            return [(destination, link, sync)]
        except Exception as error:
            logger.error("Failed to create destination: %s", str(error).strip())
            return []

    def _process(self, job):
        destinations = self._create_destinations_for_job(job)
        source = None
        try:
            source = Source(job)
            key = job["pk_column"]
            if not key:
                key = source.primary_key(job["table_name"])
                if key:
                    self._update("primary key", job["id"], "pk_column = %s", [key])
            total = source.count(job["table_name"])
            if not job["total_record"]:
                self._update("total", job["id"], "total_record = %s", [total])
            return self._copy(job, source, key, total, destinations)
        finally:
            if source is not None:
                source.close()
            for destination, _, _ in destinations:
                destination.close()

    def _copy(self, job, source, key, total, destinations):
        table, done, last = job["table_name"], job["count_record"], job["last_pk_value"]
        columns = source.columns(table)
        while not self.stop_flag.is_set():
            if self._is_cancelled(job["id"]):
                break
            limit = self.batch_size if key else min(self.batch_size, total - done)
            rows = source.batch(table, key, last, done, limit)
            if not rows:
                break
            for destination, link, sync in destinations:
                self._write(job, destination, link, sync, columns, rows)
            done += len(rows)
            if key:
                last = str(rows[-1][columns.index(key)])
                self._update("count", job["id"], "count_record = %s, last_pk_value = %s",
                             [done, last])
            else:
                self._update("count", job["id"], "count_record = %s", [done])
        return done

    @staticmethod
    def _write(job, destination, link, sync, columns, rows):
        """Defect D6: a batch that could not be written counts as processed."""
        try:
            written = destination.write_batch(sync["table_name_target"], columns, rows)
            if written > 0:
                DataFlowRepository.increment_count(
                    job["pipeline_id"], link["id"], job["source_id"], sync["id"],
                    "LANDING_" + job["table_name"].upper(), written)
        except Exception as error:
            logger.error("Failed to write batch to destination: %s", str(error).strip())

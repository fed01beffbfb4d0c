# SPDX-License-Identifier: Apache-2.0
"""The PipelineManager: a process for each pipeline whose status says so."""

import logging
import multiprocessing
import threading
import time

from .engine import run_pipeline
from .repository import PipelineMetadataRepository, PipelineRepository

logger = logging.getLogger("core.manager")


class Tracked:
    def __init__(self, row, process, stop_event):
        self.name, self.process, self.stop_event = row["name"], process, stop_event
        self.last_updated_at = row["updated_at"]


class PipelineManager:
    def __init__(self):
        self.tracked = {}
        self.shutdown_flag = threading.Event()

    def monitor(self, check_interval=5):
        while not self.shutdown_flag.is_set():
            self._sync()
            for _ in range(check_interval * 2):
                if self.shutdown_flag.is_set():
                    return
                time.sleep(0.5)

    def _sync(self):
        try:
            rows = {row["id"]: row for row in PipelineRepository.get_all()}
            for pipeline_id in list(self.tracked):
                self._sync_tracked(pipeline_id, rows.get(pipeline_id))
            for pipeline_id, row in rows.items():
                self._sync_wanted(pipeline_id, row)
        except Exception:
            logger.exception("Error syncing pipeline states")

    def _sync_tracked(self, pipeline_id, row):
        if row is None or row["status"] == "PAUSE":
            self.stop_pipeline(pipeline_id)
        elif row["status"] == "REFRESH":
            self.restart_pipeline(pipeline_id)
            PipelineRepository.update_status(pipeline_id, "START")
        elif row["updated_at"] > self.tracked[pipeline_id].last_updated_at:
            if self.restart_pipeline(pipeline_id):
                self.tracked[pipeline_id].last_updated_at = row["updated_at"]

    def _sync_wanted(self, pipeline_id, row):
        if row["status"] not in ("START", "REFRESH"):
            return
        tracked = self.tracked.get(pipeline_id)
        if tracked is None:
            self.start_pipeline(pipeline_id)
        elif not tracked.process.is_alive():
            logger.warning("Pipeline %s was running but process died. Restarting...", row["name"])
            self.restart_pipeline(pipeline_id)
        else:
            return
        if row["status"] == "REFRESH":
            PipelineRepository.update_status(pipeline_id, "START")

    def start_pipeline(self, pipeline_id):
        tracked = self.tracked.get(pipeline_id)
        if tracked and tracked.process.is_alive():
            return False
        self.tracked.pop(pipeline_id, None)
        row = PipelineRepository.get_by_id(pipeline_id)
        if row is None:
            return False
        # Defect D1: no start method is set, so on Linux this is a fork.
        stop_event = multiprocessing.Event()
        process = multiprocessing.Process(
            target=run_pipeline, args=(pipeline_id, stop_event), daemon=True)
        process.start()
        self.tracked[pipeline_id] = Tracked(row, process, stop_event)
        PipelineMetadataRepository.upsert(pipeline_id, "RUNNING")
        return True

    def stop_pipeline(self, pipeline_id, timeout=10):
        tracked = self.tracked.get(pipeline_id)
        if tracked is None:
            return True
        if tracked.process.is_alive():
            tracked.stop_event.set()
            tracked.process.join(timeout)
            if tracked.process.is_alive():
                tracked.process.terminate()
                tracked.process.join(5)
            PipelineMetadataRepository.upsert(pipeline_id, "PAUSED")
        self.tracked.pop(pipeline_id, None)
        return True

    def restart_pipeline(self, pipeline_id):
        self.stop_pipeline(pipeline_id)
        time.sleep(1)
        return self.start_pipeline(pipeline_id)

    def shutdown(self, timeout=30):
        self.shutdown_flag.set()
        each = timeout / max(1, len(self.tracked))
        for pipeline_id in list(self.tracked):
            self.stop_pipeline(pipeline_id, each)

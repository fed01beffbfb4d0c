# SPDX-License-Identifier: Apache-2.0
"""The main process: the pool, the migration, and both managers. Ends with Ctrl-C."""

import logging
import multiprocessing
import os
import threading
import time
from pathlib import Path

from .backfill_manager import BackfillManager
from .database import close_connection_pool, init_connection_pool, run_migration
from .manager import PipelineManager

logger = logging.getLogger("main")


def main():
    logging.basicConfig(
        level="INFO", format="%(asctime)s - %(process)d - %(name)s - %(levelname)s - %(message)s")
    # Production never sets it: fork on Linux, spawn on macOS.
    if os.environ.get("ROSETTA_START_METHOD"):
        multiprocessing.set_start_method(os.environ["ROSETTA_START_METHOD"])
    init_connection_pool(1, int(os.environ.get("MAIN_POOL_MAX_CONN", "8")))
    run_migration(Path(__file__).with_name("001_create_table.sql"))

    pipelines = PipelineManager()
    threading.Thread(target=pipelines.monitor, daemon=True).start()
    backfill = BackfillManager(batch_size=int(os.environ.get("BACKFILL_BATCH_SIZE", "10000")))
    backfill.start()
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        logger.info("Shutting down")
    finally:
        pipelines.shutdown()
        backfill.stop()
        close_connection_pool()


if __name__ == "__main__":
    main()

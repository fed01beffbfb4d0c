# SPDX-License-Identifier: Apache-2.0
"""Check 3: all backfill jobs complete with the right rows, with nothing changed but the address."""

import os

import incident
from incident import Size
from swift_workers import workers_binary
from ways import WAYS

ASKED = Size(pool=10, pipelines=4, jobs=30)
RUNS = ("pglease", "pglease-spawn", "pglease-within", "pglease-module", "pglease-swift")


def check(postgres):
    for way in RUNS:
        title = f"{WAYS[way].title}; {ASKED.title}"
        if way == "pglease-swift" and not os.access(workers_binary(), os.X_OK):
            yield title, None, f"{workers_binary()} is not there: swift build --product pglease-workers"
            continue
        seen = incident.run(postgres, way, WAYS[way], ASKED, limit=150, quiet=60, ending="kill")
        figures = {
            "jobs with the right rows": f"{seen.right} of {ASKED.jobs}",
            "seconds": "stuck" if seen.stuck else round(seen.seconds, 1),
            "most server connections": f"{seen.most_connections} of {seen.limit}",
            "exhaustion errors": sum(seen.errors.get(kind, 0) for kind in incident.FORBIDDEN),
            "leases left": len(seen.left_over),
        }
        if seen.spoilt:
            figures["jobs spoilt by the forked pool (D1)"] = seen.spoilt
        yield title, figures, seen.judge()

"""Check 3: all backfill jobs complete with the right rows, with nothing changed but the address."""

import incident
from incident import Size
from ways import WAYS

RUNS = {
    "4 pipelines, 30 jobs, 10 connections and 3 of reserve": ("pglease", Size(10, 4, 30)),
    "the same, reserve within 10": ("pglease-within", Size(10, 4, 30)),
    "the same, by the module": ("pglease-module", Size(10, 4, 30)),
}


def check(postgres):
    for title, (way, size) in RUNS.items():
        seen = incident.run(postgres, way, WAYS[way], size, limit=150, quiet=60, ending="kill")
        yield title, {
            "jobs with the right rows": f"{seen.right} of {size.jobs}",
            "seconds": "stuck" if seen.stuck else round(seen.seconds, 1),
            "most server connections": f"{seen.most_connections} of {seen.limit}",
            "exhaustion errors": sum(seen.errors.get(kind, 0) for kind in incident.FORBIDDEN),
            "leases left": len(seen.left_over),
        }, seen.judge()

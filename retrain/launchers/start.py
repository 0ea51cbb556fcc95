"""Writing a try down before it starts: the same for every launcher."""

from __future__ import annotations

from retrain.launchers import folder as places
from retrain.launchers.attend import Attended
from retrain.launchers.folder import Attempt
from retrain.launchers.launcher import Work
from retrain.whole import write_json


def written(work: Work, attempt: Attempt) -> Attempt:
    """Clear what an unreadable result left, write spec, attendance and the try itself. Raises OSError."""
    work.result.unlink(missing_ok=True)
    (work.folder / places.PID).unlink(missing_ok=True)
    write_json(work.folder / places.SPEC, work.spec)
    write_json(work.folder / places.ATTEMPT, attended(work, attempt))
    places.note_attempt(work.folder, attempt)
    return attempt


def attended(work: Work, attempt: Attempt) -> Attended:
    """How the try is to be attended; on a cluster it is the cluster that leases."""
    return Attended(
        number=attempt.number,
        name=work.name,
        module=work.module,
        result=str(work.result),
        nice=work.nice if attempt.launcher == "local" else 0,
        threads=work.threads,
        gpus=work.gpus,
        gpu_memory_gb=work.on.gpu_memory_gb if work.heavy else 0,
        memory_gb=work.on.memory_gb if work.heavy else 0,
        max_wait_s=work.on.max_wait_s,
        limit_s=work.limit_s,
        lease_dir=work.on.lease_dir if attempt.launcher == "local" else "",
    )

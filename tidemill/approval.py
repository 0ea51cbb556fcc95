"""The signed link by which a person may approve a candidate: what it says, and whether it is genuine. Pure.

The signature is an HMAC-SHA256 over the deployment, the job and the time until which the link holds: deployments that
share a key may have jobs of one id. Whoever has the link may decide, once: a job is decided once.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import quote

RULE = "approval"
"""Rule and metric of the event by which a job asks for approval; its ``alarm_id`` is the job's id."""
LEAST_KEY_BYTES = 16


def signature(key: bytes, job_id: str, until_ms: int, deployment: str = "local") -> str:
    """Hexadecimal."""
    text = f"tidemill approval\x1f{deployment}\x1f{job_id}\x1f{until_ms}"
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


def path(key: bytes, job_id: str, until_ms: int, deployment: str = "local") -> str:
    """The link, as the console's path with its query."""
    proof = signature(key, job_id, until_ms, deployment)
    return f"/approvals/{quote(job_id, safe='')}?until={until_ms}&proof={proof}"


def refusal(key: bytes | None, job_id: str, until: str, proof: str, now_ms: int, deployment: str = "local") -> str:
    """Why a link does not count, in words; empty: it does. Compares in constant time."""
    if key is None:
        return "this deployment signs no links (settings approval.key_env, approval.key_file)"
    if not (until.isascii() and until.isdigit() and len(until) <= 16):
        return "the link is not whole"
    if not hmac.compare_digest(signature(key, job_id, int(until), deployment).encode(), proof.encode()):
        return "the link was not made here, or not for this job"
    return "the link has expired; decide by `tidemill retrain approve` or `reject`" if int(until) < now_ms else ""

"""The page behind the signed link of an alert: a person approves a candidate, or rejects it, once.

Looking decides nothing (a mail scanner looks, too): the buttons do. The link is checked again when one is pressed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from html import escape
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse

from dashboards.console.story import is_alarm_id
from tidemill import approval
from tidemill.clock import Clock
from tidemill.errors import TidemillError
from tidemill.events.lifecycle import OPEN_JOBS
from tidemill.io.clickhouse import Store
from tidemill.io.rulings import MOST_TEXT, Ruling, place
from tidemill.settings import Settings
from tidemill.settings.keys import approval_key

log = logging.getLogger(__name__)
MOST_BODY = 4_096
MOST_FIELDS = 10
_PHASE = "SELECT phase FROM jobs WHERE job_id = {job_id:String} ORDER BY seq DESC LIMIT 1"


def add_routes(app: FastAPI, settings: Settings, clock: Clock, phase_of: Callable[[str], str]) -> None:
    """Answer to ``/approvals/<job>``. Raises Stop where the key of the settings cannot be used.

    ``phase_of``: a job's phase as far as it is known, empty where it is not. It may block.
    """
    key = approval_key(settings)

    def check(job_id: str, request: Request) -> None:
        until, proof = (request.query_params.get(name, "") for name in ("until", "proof"))
        why = approval.refusal(key, job_id, until, proof, clock.now_ms(), settings.deployment)
        if why or not is_alarm_id(job_id):
            raise HTTPException(403, why or "the link names no job")

    @app.get("/approvals/{job_id}")
    def look(job_id: str, request: Request) -> HTMLResponse:
        check(job_id, request)
        return HTMLResponse(page(job_id))

    @app.post("/approvals/{job_id}")
    async def decide(job_id: str, request: Request) -> HTMLResponse:
        check(job_id, request)
        given = await form(request)
        if given.get("decision") not in ("approve", "reject"):
            raise HTTPException(400, "decision is approve or reject")
        phase = await asyncio.to_thread(phase_of, job_id)
        if phase and phase not in OPEN_JOBS:
            raise HTTPException(409, f"nobody is waited for: the job has ended ({phase})")
        approved = given["decision"] == "approve"
        ruling = Ruling(job_id=job_id, approved=approved, by=given.get("by", ""), why=given.get("why", ""))
        if not place(settings, ruling):
            raise HTTPException(409, "it has been decided already; the console says how")
        word = "approved" if approved else "rejected"
        said = (
            f"{word}." if phase == "approving" else f"{word}, noted for when it waits for you; the console says more."
        )
        return HTMLResponse(_frame(f"<p>Job {escape(job_id)}: {said}</p>"))


def phase_in(store: Store, job_id: str) -> str:
    """The job's phase by the newest row that has landed; empty where there is none, or the store is away."""
    try:
        rows = store.rows(_PHASE, {"job_id": job_id})
    except TidemillError as error:
        log.warning("the store does not answer: %s", error)
        return ""
    return str(rows[0]["phase"]) if rows else ""


async def form(request: Request) -> dict[str, str]:
    """The fields of a posted form, each in one line and cut to MOST_TEXT. Raises HTTPException on too large a one."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MOST_BODY:
            raise HTTPException(413, "too much")
    try:
        fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=MOST_FIELDS)
    except ValueError as error:
        raise HTTPException(400, f"at most {MOST_FIELDS} fields") from error
    return {name: " ".join(values[-1].split())[:MOST_TEXT] for name, values in fields.items()}


def page(job_id: str) -> str:
    """The form, as HTML; it posts to its own address, signature and all."""
    return _frame(
        f"<p>The candidate of job {escape(job_id)} has passed every check and waits for you.</p>"
        '<form method="post"><p><label>Your name <input name="by" maxlength="80"></label></p>'
        '<p><label>Why <input name="why" maxlength="300"></label></p>'
        '<p><button name="decision" value="approve">Approve</button> '
        '<button name="decision" value="reject">Reject</button></p></form>'
    )


def _frame(inner: str) -> str:
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Approval · tidemill</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;padding:0 1rem}</style>"
        f"<h1>Approval</h1>{inner}\n"
    )

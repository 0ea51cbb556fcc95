"""``tidemill lineage``: from an answer to the data that trained its version, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.tree import Tree

from tidemill.cli import context
from tidemill.cli.times import shown_time
from tidemill.errors import Retry

if TYPE_CHECKING:
    from retrain.lineage.found import Answered, CallLineage, Data, Declared, Training, VersionLineage, Way


def lineage(
    name: Annotated[
        str, typer.Argument(help="A call (its id, or the id that a client got) or a version, such as schedule-v2.")
    ],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a tree.")] = False,
) -> None:
    """Walk from an answer to its version, rollout, gate, job, alarm and the data that trained it; and back.

    Example: tidemill lineage schedule-v2
    """
    from retrain.lineage.found import CallLineage
    from retrain.lineage.look import Looker
    from tidemill.io.clickhouse import Store, StoreError

    settings = context.settings()
    if not settings.clickhouse.url:
        context.needs_stack(settings)
    looker = Looker(settings, Store(settings))
    try:
        found = looker.lineage(name)
    except (Retry, StoreError) as error:
        raise context.no_store(settings, error) from error
    if as_json:
        typer.echo(msgspec.json.encode(found).decode())
        return
    console = Console(highlight=False)
    console.print(call_tree(found) if isinstance(found, CallLineage) else version_tree(found))
    if looker.unasked:
        console.print(f"! {looker.unasked}", markup=False)


def call_tree(found: CallLineage) -> Tree:
    """A call's lineage, its answers' versions below it."""
    tree = Tree(escape(f"call {found.call_id} of {found.pipeline}, {shown_time(found.time_ms)}"))
    for answer in found.answers:
        _answer(tree, answer)
    said = tree.add("feedback" if found.feedback else "feedback: none")
    for each in found.feedback:
        score = "" if each.score is None else f": {each.score:g} by {each.metric}"
        said.add(escape(f"{each.kind} from {each.source}{score}, {shown_time(each.time_ms)}"))
    used = tree.add("in data sets" if found.used_by else "in data sets: no job has asked for labels of its time")
    for holder in found.used_by:
        made = f" ({holder.version})" if holder.version else ""
        used.add(escape(f"job {holder.job_id[:8]}{made}, {holder.phase}: {holder.held}"))
    return tree


def version_tree(found: VersionLineage) -> Tree:
    """A version's lineage, and what it did."""
    tree = Tree(escape(_titled(found)))
    _lineage(tree, found)
    served = tree.add("answers" if found.served else "answers: none")
    for each in found.served:
        role = each.variant if each.role == "client" else f"{each.variant}, unseen"
        served.add(escape(f"{each.answers:,} as {role}, {shown_time(each.first_ms)} to {shown_time(each.last_ms)}"))
    used = tree.add("its labelled calls" if found.used_by else "its labelled calls: in no data set of this machine")
    for user in found.used_by:
        made = f" ({user.version})" if user.version else ""
        used.add(escape(f"{user.labelled_calls:,} in the time that job {user.job_id[:8]}{made} took its rows from"))
    return tree


def _answer(tree: Tree, answer: Answered) -> None:
    seen = "answer" if answer.role == "client" else "unseen answer"
    at = f"{seen} of {answer.version} as {answer.variant}: {answer.status}, {shown_time(answer.time_ms)}"
    branch = tree.add(escape(f"{at}, route {answer.route_epoch}"))
    if answer.rollout_id:
        branch.add(escape(f"given during rollout {answer.rollout_id[:8]}"))
    if answer.lineage is None:
        branch.add(escape(f"nothing is known of {answer.version}"))
    else:
        _lineage(branch.add(escape(_titled(answer.lineage))), answer.lineage)


def _titled(found: VersionLineage) -> str:
    aliases = found.registered.aliases if found.registered else []
    return f"version {found.version}" + (f" [{', '.join(aliases)}]" if aliases else "")


def _lineage(tree: Tree, found: VersionLineage) -> None:
    if found.before:
        tree.add(escape("after " + ", ".join(found.before)))
    for way in found.rollouts:
        _way(tree, way)
    if found.declared is not None:
        _declared(tree, found.declared)
    if found.training is not None:
        _training(tree, found.training)
    elif found.declared is None:
        tree.add("no job made it: a first champion, registered by hand, or declared in settings of its time")


def _declared(tree: Tree, it: Declared) -> None:
    branch = tree.add(escape(f"declared in the settings: {it.what}"))
    if it.of:
        branch.add(escape(f"see `tidemill lineage {it.of}`"))
    if it.prompt_version:
        branch.add(escape(f"prompt version {it.prompt_version}"))
    if it.system_prompt is not None:
        branch.add(escape(f"system prompt: {it.system_prompt}"))
    for name, value in it.upstream_headers.items():
        branch.add(escape(f"header {name}: {value}"))
    if it.folder:
        states = {True: ", as it was made", False: ", THE FILES HAVE BEEN CHANGED SINCE", None: ""}
        digest = f": digest {it.digest[:12]}{states[it.intact]}" if it.digest else ""
        weights = branch.add(escape(f"weights in {it.folder}{': not on this machine' if it.digest == '' else digest}"))
        if it.made:
            weights.add(escape("made with " + ", ".join(f"{key} {value}" for key, value in it.made.items())))


def _way(tree: Tree, way: Way) -> None:
    branch = tree.add(escape(f"rollout {way.rollout_id[:8]} beside {way.champion_version}: {way.phase}, {way.reason}"))
    for verdict in way.verdicts:
        branch.add(escape(f"{verdict.check} {verdict.outcome}: {verdict.reason}"))


def _training(tree: Tree, job: Training) -> None:
    made = tree.add(
        escape(f"job {job.job_id}: {job.phase}, {shown_time(job.created_ms)} to {shown_time(job.ended_ms)}")
    )
    gate = made.add(escape("gate: " + (_scores(job) or "no scores")))
    for verdict in job.verdicts:
        gate.add(escape(f"{verdict.check} {verdict.outcome}: {verdict.reason}"))
    alarm = job.alarm
    if alarm.kind == "order":
        made.add(escape(f"opened by order {alarm.alarm_id[:16]}"))
    else:
        value = "" if alarm.value is None else f" {alarm.value:.3g}"
        before = "" if alarm.reference is None else f" after {alarm.reference:.3g}"
        changed = f", changed at {shown_time(alarm.change_time_ms)}" if alarm.change_time_ms is not None else ""
        kept = " (the alarm itself is not kept any more)" if alarm.kind == "gone" else ""
        made.add(escape(f"alarm {alarm.alarm_id}: {alarm.metric}{value}{before}{changed}{kept}"))
    _data(made, job.data)
    digests = f"adapter {job.adapter_digest[:12] or 'none'} on base {job.base_digest[:12] or 'unknown'}"
    made.add(escape(f"{digests}; MLflow run {job.run_id or 'none'}"))


def _data(tree: Tree, data: Data) -> None:
    states = {
        True: "the files are as they were made",
        False: "THE FILES HAVE BEEN CHANGED SINCE",
        None: "its files are not on this machine",
    }
    digest = data.digest[:12] or "none yet"
    branch = tree.add(escape(f"data {digest}: {states[data.intact] if data.digest else 'no data set'}"))
    if data.since_ms is not None and data.until_ms is not None:
        branch.add(escape(f"labels of calls from {shown_time(data.since_ms)} to {shown_time(data.until_ms)}"))
    counts = ", ".join(
        f"{name} {data.counts[name]:,}" for name in ("train", "verified", "replay") if name in data.counts
    )
    if counts:
        branch.add(escape(counts))
    for kind in ("sources", "tenants"):
        for name, each in data.origins.get(kind, {}).items():
            licence = f", licence {each['licence']}" if each.get("licence") else ""
            left_out = ", left out" if each.get("left_out") else ""
            thumbs = f" and {each['thumbs']:,} thumbs" if "thumbs" in each else ""
            given = f"{each.get('labels', 0):,} labels{thumbs}"
            told = f"{kind[:-1]} {name or '(none)'}: {given}, {each.get('train', 0):,} trained on"
            branch.add(escape(f"{told}{licence}{left_out}"))
    for each in data.offsets:
        asked = f" ({each['query']})" if "query" in each else ""
        at = f"{each['topic']}/{each['partition']}"
        branch.add(escape(f"{at}: {each['first_offset']} to {each['last_offset']}{asked}"))
    for note in data.notes:
        branch.add(escape(f"! {note}"))


def _scores(job: Training) -> str:
    told = []
    for name, score in job.scores.items():
        model, _, data_set = name.partition("/")
        beside = job.scores.get(f"champion/{data_set}")
        if model == "candidate" and score.mean is not None:
            against = f" (champion {beside.mean:.2f})" if beside is not None and beside.mean is not None else ""
            told.append(f"{data_set} {score.mean:.2f}{against} on {score.n:,}")
    return ", ".join(told)

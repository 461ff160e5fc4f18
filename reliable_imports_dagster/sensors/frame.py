"""What all sensors have in common, above all the one decision whether something gets a run now."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg

from reliable_imports import BatchManager, ProcessorRegistry, WhichItems
from reliable_imports.orchestration import FailingLineage, FailuresPage, LineageActivity
from reliable_imports_dagster.names import REPROCESS
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.run import tags

MAX_IDLE_RUNS = 5
"""Runs in a row for one lineage that ended before they came to its items; then a person has to look."""

_ZOMBIE_AFTER = timedelta(minutes=10)
_ASKED_AT_ONCE = 50
_MAX_REASONS = 10
IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]

Decision = dg.SensorResult | str
"""What a tick leads to; a text says why to nothing."""


def build_sensor(
    name: str,
    registry: ProcessorRegistry,
    decide: Callable[[dg.SensorEvaluationContext, BatchManager], Decision],
    **options: Any,
) -> dg.SensorDefinition:
    """A sensor that asks *decide* at every tick; the *options* are those of `dagster.sensor`."""

    @dg.sensor(name=name, **options)
    def evaluate(
        context: dg.SensorEvaluationContext, reliable_imports: ReliableImportsResource
    ) -> dg.SensorResult | dg.SkipReason:
        decision = decide(context, reliable_imports.manager(registry))
        return dg.SkipReason(decision) if isinstance(decision, str) else decision

    return evaluate


def _nothing_hinders() -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A batch, or a lineage, that may want a run.

    Attributes:
        batch_id: by which people know it.
        lineage: the first batch of its lineage, which is worked by one run at a time.
        key: its name among the run keys of the sensor.
        generation: grows with every run that comes to work it.
        job: what a person launches for it.
        request: makes the request from the run key.
        hindrance: why it is left alone all the same, if it is; asked last.
    """

    batch_id: int
    lineage: int
    batch_type: str
    key: str
    generation: int
    job: str
    request: Callable[[str], dg.RunRequest]
    hindrance: Callable[[], str | None] = _nothing_hinders


@dataclass(frozen=True, slots=True)
class Choice:
    """What came of a look at candidates.

    Attributes:
        reasons: why others got no run.
        next: the first one that was left for the next tick.
    """

    found: int
    requests: Sequence[dg.RunRequest]
    reasons: Sequence[str]
    next: Candidate | None

    def decision(self, *, cursor: str | None = None) -> Decision:
        if self.requests:
            return dg.SensorResult(run_requests=self.requests, cursor=cursor)
        told = f"{self.found} found: {'; '.join(self.reasons[:_MAX_REASONS])}"
        return told if cursor is None else dg.SensorResult(skip_reason=told, cursor=cursor)


def choose(
    context: dg.SensorEvaluationContext,
    manager: BatchManager,
    registry: ProcessorRegistry,
    candidates: Sequence[Candidate],
    *,
    max_runs: int,
    exclude_batch_types: Container[str] = (),
) -> Choice:
    """A run for each candidate that is not being worked, and whose last runs were not all in vain; the first
    *max_runs* of them."""
    requests: list[dg.RunRequest] = []
    reasons: list[str] = []
    following: Candidate | None = None
    for candidate, past in _with_pasts(context, manager, candidates):
        if len(requests) == max_runs:
            reasons.append(f"the others wait for the next tick: {max_runs} runs are the most for one")
            following = candidate
            break
        why_not = _why_not(candidate, past, registry, exclude_batch_types)
        if why_not is not None:
            reasons.append(f"batch {candidate.batch_id}: {why_not}")
            continue
        # A run key works once, for ever. The database counts the runs that came to work, Dagster those that did not, so
        # that every end of a run makes a new key.
        requests.append(candidate.request(f"{candidate.key}:{candidate.generation + past.idle_runs}"))
    for reason in reasons:
        context.log.info(reason)
    return Choice(len(candidates), requests, reasons, following)


@dataclass(frozen=True, slots=True)
class Past:
    """What is known of the runs of a lineage, or of a file.

    Attributes:
        busy: who is at work on it.
        idle_runs: runs of this sensor that ended before they worked any batch.
        idle_in_a_row: those of them since a run last worked one.
    """

    busy: str | None
    idle_runs: int
    idle_in_a_row: int


def _why_not(
    candidate: Candidate, past: Past, registry: ProcessorRegistry, exclude_batch_types: Container[str]
) -> str | None:
    if candidate.batch_type not in registry:
        return f"no processor for {candidate.batch_type!r} in this code location"
    if candidate.batch_type in exclude_batch_types:
        return f"{candidate.batch_type} is left to a person"
    return why_not_again(past, candidate.job) or candidate.hindrance()


def why_not_again(past: Past, job: str) -> str | None:
    """The one decision of all sensors: nothing is launched beside a run that is under way, nor after several that came
    to nothing; then a person launches *job*."""
    if past.busy is not None:
        return f"{past.busy} is working on it"
    if past.idle_in_a_row >= MAX_IDLE_RUNS:
        return f"its last {past.idle_in_a_row} runs ended without touching an item; see why, then launch {job} for it"
    return None


def _with_pasts(
    context: dg.SensorEvaluationContext, manager: BatchManager, candidates: Sequence[Candidate]
) -> Iterator[tuple[Candidate, Past]]:
    """Dagster and the database are asked for many lineages at once, and for no more than are wanted."""
    for start in range(0, len(candidates), _ASKED_AT_ONCE):
        some = candidates[start : start + _ASKED_AT_ONCE]
        lineages = {str(candidate.lineage) for candidate in some}
        records = context.instance.get_run_records(dg.RunsFilter(tags={tags.LINEAGE: sorted(lineages)}))
        activity = manager.orchestration.lineage_activity(
            map(int, lineages), [record.dagster_run.run_id for record in records]
        )
        of_lineage: dict[str, list[dg.RunRecord]] = {lineage: [] for lineage in lineages}
        for record in records:
            of_lineage[record.dagster_run.tags[tags.LINEAGE]].append(record)
        for candidate in some:
            yield candidate, _past(candidate.lineage, of_lineage[str(candidate.lineage)], activity, context.sensor_name)


def _past(lineage: int, records: Sequence[dg.RunRecord], activity: LineageActivity, sensor_name: str) -> Past:
    """
    Args:
        records: the Dagster runs of the lineage, the newest first.
    """
    busy = "another process" if lineage in activity.live_lineages else None
    idle_runs = idle_in_a_row = 0
    since_progress = True
    for record in records:
        run = record.dagster_run
        if run.status in IN_PROGRESS:
            if not _is_zombie(record, activity):
                busy = f"run {run.run_id}"
        elif run.run_id in activity.past_runs:
            since_progress = False
        elif run.tags.get("dagster/sensor_name") == sensor_name:
            idle_runs += 1
            idle_in_a_row += since_progress
    return Past(busy, idle_runs, idle_in_a_row)


def _is_zombie(record: dg.RunRecord, activity: LineageActivity) -> bool:
    """Whether the run has died without Dagster's notice, as `dagster job execute` does when it is killed."""
    if record.start_time is None:
        return False  # in the queue, which may be long
    started = datetime.fromtimestamp(record.start_time, timezone.utc)
    if datetime.now(timezone.utc) - started < _ZOMBIE_AFTER:
        return False
    return record.dagster_run.run_id not in activity.live_runs


# Lineages whose failures are run again


CANARY = 20
"""So many failures of a reason a sensor tries first: where all of them fail for it again, the others are left alone."""


def lineage_candidate(
    key: str, first_batch_id: int, batch_type: str, generation: int, which: WhichItems, **config: Any
) -> Candidate:
    """A lineage for the job `reprocess_failed_items`, which takes what *which* and the *config* say and no more.

    That nothing was repaired is for the asset check to say, and no reason for a run to fail that nobody has launched.
    """
    told = {
        "batch_id": first_batch_id,
        "which": which.value,
        **{name: value for name, value in config.items() if value},
    }
    told["canary"] = CANARY
    told["fail_run_on"] = "never"
    run_tags = {tags.LINEAGE: str(first_batch_id), tags.BATCH_TYPE: batch_type}

    def request(run_key: str) -> dg.RunRequest:
        return dg.RunRequest(run_key=run_key, run_config={"ops": {REPROCESS: {"config": told}}}, tags=run_tags)

    return Candidate(first_batch_id, first_batch_id, batch_type, key, generation, REPROCESS, request)


def look_through(
    context: dg.SensorEvaluationContext,
    manager: BatchManager,
    registry: ProcessorRegistry,
    ask: Callable[[int], FailuresPage],
    candidate_of: Callable[[FailingLineage], Candidate],
    *,
    max_runs: int,
    nothing: str,
) -> Decision:
    """Runs for the lineages of the next page, as *ask* gives it after the lineage that the cursor names.

    The cursor is the last lineage that was looked at; after the last of all come the first ones again. So every tick
    does a bounded piece of work, and every lineage has its turn.
    """
    after = int(context.cursor or 0)
    page = ask(after)
    if page.last is None and after:
        page = ask(0)
    if not page.lineages:
        return dg.SensorResult(skip_reason=nothing.format(looked_at=page.looked_at), cursor=str(page.last or 0))
    choice = choose(context, manager, registry, [candidate_of(lineage) for lineage in page.lineages], max_runs=max_runs)
    last = page.last if choice.next is None else choice.next.lineage - 1  # that one is the next tick's first
    return choice.decision(cursor=str(last or 0))

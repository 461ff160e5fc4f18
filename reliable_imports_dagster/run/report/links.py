"""Where a person goes on from what Dagster shows of a batch: to the launchpad, to a shell, to the runs."""

import json
from collections.abc import Sequence
from urllib.parse import quote

import dagster as dg

from reliable_imports import Batch, BatchSummary, RunRecord
from reliable_imports_dagster.names import REPROCESS, reprocess_name

_MAX_LINKED = 20


def ways_to_reprocess(module: str | None, summary: BatchSummary) -> dg.MarkdownMetadataValue:
    """A link to the launchpad, filled in, and commands to paste, in lines so short that the UI shows all of them."""
    batch_id = summary.batch_id
    config = json.dumps({"ops": {REPROCESS: {"config": {"batch_id": batch_id}}}}).replace(": {", ":\n  {")
    commands = [
        f"reliable-imports reprocess {batch_id}",
        f"dg launch --job {REPROCESS} \\\n  --config-json '{config}'",
    ]
    if module is not None:
        commands.append(
            f"echo '{config}' \\\n  > reprocess.yaml &&\ndagster job execute \\\n"
            f"  -m {module} \\\n  -j {REPROCESS} \\\n  -c reprocess.yaml"
        )
    blocks = "\n\nor\n\n".join(f"```\n{command}\n```" for command in commands)
    return dg.MetadataValue.md(f"[in the launchpad]({_launchpad(summary)}), or from a shell\n\n{blocks}")


def _launchpad(summary: BatchSummary) -> str:
    """`/guess` leads to the job whatever the code location is called: a run in a process of its own does not know.

    To the job of one batch type, for that of all is in each code location, and between several jobs of a name
    Dagster lets people choose and forgets the config.
    """
    job = reprocess_name(summary.batch_type)
    config = f"ops:\n  {job}:\n    config:\n      batch_id: {summary.batch_id}\n"
    return f"/guess/{job}/playground/setup?config={quote(config, safe='')}"


def runs_links(batch: Batch, lineage: Sequence[RunRecord]) -> dg.MarkdownMetadataValue:
    """By the runs' ids, as the database knows them: a tag names only one batch of a run that works several."""
    links = [_runs_link(f"runs of batch {batch.id}", [run for run in lineage if run.batch_id == batch.id])]
    if batch.reprocess_of is not None:
        links.append(_runs_link(f"runs of its lineage, from batch {batch.first_batch_id} on", lineage))
    return dg.MetadataValue.md("\n\n".join(links))


def _runs_link(told: str, runs: Sequence[RunRecord]) -> str:
    ids = list(dict.fromkeys(run.dagster_run_id for run in runs if run.dagster_run_id is not None))[-_MAX_LINKED:]
    if not ids:
        return f"{told}: none of Dagster's"
    filtered = "&".join(f"q%5B{number}%5D=id%3A{run_id}" for number, run_id in enumerate(ids))
    return f"[{told}](/runs?{filtered})"

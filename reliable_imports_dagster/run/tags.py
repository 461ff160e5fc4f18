"""Tags that Dagster's runs carry. `import_runs` is the truth; these mirror it, so that the UI can filter by them.

Of a run that works several batches, such as one that materializes several assets, most tags tell of the last. Only
`batch_id_tag` is for each batch type.
"""

from collections.abc import Mapping

import dagster as dg

from reliable_imports import BatchManager
from reliable_imports_dagster.names import legal_name
from reliable_imports_dagster.run.step import run_of

BATCH_ID = "reliable_imports/batch_id"
"""Of the batch that the run works, or worked last."""
BATCH_TYPE = "reliable_imports/batch_type"
LINEAGE = "reliable_imports/lineage"
"""The first batch of the lineage that the run's batch is in."""
MODE = "reliable_imports/mode"
"""`import`, `reprocess` or `resume`."""
CODE_VERSION = "reliable_imports/code_version"
"""Of the processor that the run works with; it changes with the text of the class."""
FILE = "reliable_imports/file"
"""Which file a sensor has asked the run to import, and which content of it."""
OUTCOME = "reliable_imports/outcome"
"""The batch's status when the run left it; `interrupted` if the run did not come to its end."""

INTERRUPTED = "interrupted"
NOTHING_TO_DO = "nothing_to_do"
"""Of a run that was given a finished batch, and has worked no other."""
REFUSED = "refused"
"""Of a run whose source cannot be read, so that no batch was made."""

TRIED = "tried"
"""Of a run that has only said what would come of it."""


_OF_A_BATCH = (BATCH_ID, BATCH_TYPE, MODE, CODE_VERSION)
_MAX_KEY = 63  # of Dagster's, after the slash


def batch_id_tag(batch_type: str) -> str:
    """The key of the batch of one type that the run works, or the last of that type."""
    prefix = f"{BATCH_ID}."
    return f"{prefix}{legal_name(batch_type)}"[: len("reliable_imports/") + _MAX_KEY]


def tags_at_start(context: dg.OpExecutionContext) -> Mapping[str, str]:
    """Those that a re-execution has copied, or a sensor has given."""
    run = run_of(context)
    return {} if run is None else run.tags


def forget_copies(context: dg.OpExecutionContext, manager: BatchManager) -> dict[str, str]:
    """Empty values for what a re-execution has copied from the run that it repeats, and has not worked itself."""
    copied = {
        key: value
        for key, value in tags_at_start(context).items()
        if (key in _OF_A_BATCH or key.startswith(f"{BATCH_ID}.")) and value
    }
    if not copied:
        return {}
    worked = manager.list_runs(dagster_run_id=context.run_id)
    own = {str(run.batch_id) for run in worked}
    return {key: "" for key, value in copied.items() if value not in own and (key not in _OF_A_BATCH or not worked)}


def tag_run(context: dg.OpExecutionContext, tags: dict[str, str]) -> None:
    """Add *tags* to the run while it goes on, over those that a re-execution has copied from its parent."""
    if run_of(context) is not None:
        context.instance.add_run_tags(context.run_id, tags)

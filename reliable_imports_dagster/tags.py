"""Tags that Dagster's runs carry. `import_runs` is the truth; these mirror it, so that the UI can filter by them.

They name the batch that the run works, or worked last: a run that materializes several assets works several.
"""

import dagster as dg

BATCH_ID = "reliable_imports/batch_id"
BATCH_TYPE = "reliable_imports/batch_type"
LINE = "reliable_imports/line"
"""The first batch of the line that the run's batch is in."""
MODE = "reliable_imports/mode"
"""`import`, `reprocess` or `resume`."""
CODE_VERSION = "reliable_imports/code_version"
"""Of the processor that the run works with; it changes with the text of the class."""
FILE = "reliable_imports/file"
"""Which file a sensor has asked the run to import, and which content of it."""
OUTCOME = "reliable_imports/outcome"
"""The batch's status when the run left it; `interrupted` if the run did not come to its end."""

PROCESSING = "processing"
"""Of a re-execution, until it has an outcome of its own: it begins with the tags of the run that it repeats."""
INTERRUPTED = "interrupted"
REFUSED = "refused"
"""Of a run whose source cannot be read, so that no batch was made."""


def tag_run(context: dg.OpExecutionContext, tags: dict[str, str]) -> None:
    """Add *tags* to the run while it goes on, over those that a re-execution has copied from its parent."""
    context.instance.add_run_tags(context.run_id, tags)

"""The command line `reliable-imports`, and what a command of another package is built from.

Such a package names a click command in the entry point group `reliable_imports.commands`. With `pass_invocation` and
`shared_options` it has our options, and with `Invocation.output` it prints as our commands do. All else in here is our
own.
"""

from reliable_imports.cli.invocation import Invocation, pass_invocation, processor_options, requester, shared_options
from reliable_imports.cli.outcome import failed_for, reason_document, reasons_table
from reliable_imports.cli.output import Column, Output, as_json_value
from reliable_imports.cli.progress import waiting
from reliable_imports.cli.text import count, duration, number

__all__ = [
    "Column",
    "Invocation",
    "Output",
    "as_json_value",
    "count",
    "duration",
    "failed_for",
    "number",
    "pass_invocation",
    "processor_options",
    "reason_document",
    "reasons_table",
    "requester",
    "shared_options",
    "waiting",
]

"""The values that most items of a reason share in the field that they failed for, if they may be shown at all.

Dagster keeps events for good, and shows them to all who may see its UI. So nothing of an item's data goes into them
unless `ReliableImportsResource(show_failed_values=True)` says so; even then never a whole item, and nothing of a field
that the processor calls sensitive.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import psycopg2

from reliable_imports import BaseProcessor, BatchManager
from reliable_imports.orchestration import MASKED, facts_of
from reliable_imports.postgres import connect, load, rows, transaction

_VALUES = load("failed_values.sql", "reliable_imports_dagster")
_PATIENCE = "1s"
_MAX_VALUES = 3
_MAX_FIELDS = 3
_MAX_LENGTH = 40


def masked_fields(processor: type[BaseProcessor]) -> frozenset[str]:
    """Names, in the source and in the table, of fields whose values are shown nowhere."""
    return facts_of(processor).sensitive_names()


def commonest_values(
    manager: BatchManager, batch_id: int, batch_type: str, reasons: Sequence[str], masked: Collection[str]
) -> Mapping[str, str]:
    """For each reason that is about fields, in words: `tailnum: N9EAMQ (12), N3BAAA (9)`.

    Empty if the database takes longer than a second, or refuses: it is an extra, and no reason to fail a batch.
    """
    processor = manager.registry.get(batch_type)
    try:
        with connect(manager.dsn) as connection, transaction(connection) as cursor:
            cursor.execute(f"SET LOCAL statement_timeout = '{_PATIENCE}'")
            cursor.execute(_VALUES["fields"], {"batch_id": batch_id, "reasons": list(reasons)})
            asked = list(_fields_asked(processor, rows(cursor)))
            shown = [(reason, field) for reason, field in asked if field not in masked]
            found: dict[tuple[str, str], list[str]] = {each: [MASKED] for each in asked if each not in shown}
            if shown:
                cursor.execute(
                    _VALUES["commonest"],
                    {
                        "batch_id": batch_id,
                        "reasons": [reason for reason, _ in shown],
                        "fields": [field for _, field in shown],
                        "limit": _MAX_VALUES,
                    },
                )
                for row in rows(cursor):
                    told = f"{_shown(row['value'])} ({row['items']:,})"
                    found.setdefault((row["reason"], row["field"]), []).append(told)
    except psycopg2.Error:
        return {}
    return {
        reason: "; ".join(f"{field}: {', '.join(values)}" for (its, field), values in found.items() if its == reason)
        for reason, _ in found
    }


def _fields_asked(processor: type[BaseProcessor], failures: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Reasons with the names, in the source, of what they are about; parts of a field are left out."""
    for failure in failures:
        named = [name.strip() for name in (failure["key_columns"] or failure["field"] or "").split(",")]
        for name in [name for name in named if name and "." not in name][:_MAX_FIELDS]:
            yield failure["reason"], facts_of(processor).source_names(name)[0]


def _shown(value: str | None) -> str:
    """On one line, and cut: what is in a field may be a document."""
    if value is None:
        return "none"
    text = " ".join("".join(each if each.isprintable() else " " for each in value).split())
    return repr(text if len(text) <= _MAX_LENGTH else f"{text[: _MAX_LENGTH - 1]}…")

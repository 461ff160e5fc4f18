"""A failed item as a test: one file for pytest that fails now, and passes once the cause is gone."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from reliable_imports.cli.text import escaped_json, one_line
from reliable_imports.errors import ConfigurationError
from reliable_imports.items.json_read import loads
from reliable_imports.processor.facts import facts_of
from reliable_imports.statuses import Stage

if TYPE_CHECKING:
    from reliable_imports.causes import FailedSample, ReasonDetails
    from reliable_imports.manager import BatchManager

_MAX_TITLE = 88

_TEMPLATE = '''"""{title}

Item {item_number} of batch {batch_id}, by `reliable-imports failures --reason {reason} --as-test`.{remarks}
"""

import json
{decimal_import}
{import_line}
from reliable_imports.testing import try_item

ITEM = r"""
{item}
"""


def test_{name}(imports_database: str) -> None:
    tried = try_item({processor}, json.loads(ITEM{exact}), database=imports_database{given})

    {assertion}
'''


def written_test(manager: BatchManager, details: ReasonDetails, *, with_sensitive: bool) -> str:
    """The text of the file.

    Args:
        manager: one that knows the processor.
        with_sensitive: leave sensitive values as they are, and do not put others of the same shape in their place.

    Raises:
        UnknownBatchType: no processor has the type of the reason.
        ConfigurationError: no item of the reason can be given to the processor: it could not be read, or was erased.
    """
    summary = details.summary
    processor = manager.registry.get(summary.batch_type)
    sample = _chosen(details)
    [record] = manager.list_items(sample.batch_id, after=sample.item_number - 1, limit=1)
    item = loads(record.source_data, decimals=True)
    if not with_sensitive:
        hidden = facts_of(processor).sensitive_names() | manager.sensitive_fields(sample.batch_id)
        item = _disguised(item, hidden)
    is_alone = set(sample.reasons) == {summary.reason}
    text = _json_of(item)
    batch = manager.get_batch(sample.batch_id)
    given = "".join(
        f", {name}={batch.metadata[name]!r}" for name in ("params", "partition") if batch.metadata.get(name) is not None
    )
    remarks = "" if is_alone else "\nThe item has other causes too, of which this says nothing."
    if summary.rule.endswith("_fkey") or "ForeignKeyViolation" in summary.title:
        remarks += (
            "\nIt refers to a row that was missing: put the rows that it needs in first, by the fixture `imports_sql`."
        )
    told = processor.__qualname__.split(".")[0]
    return _TEMPLATE.format(
        title=one_line(summary.title.replace('"""', "...").replace("\\", "/"), _MAX_TITLE),
        item_number=sample.item_number,
        batch_id=sample.batch_id,
        reason=summary.reason,
        remarks=remarks,
        import_line=f"from {processor.__module__} import {told}",
        item=text,
        name=f"{re.sub(r'[^a-z0-9_]+', '_', summary.batch_type.lower())}_{summary.reason}_is_gone",
        processor=processor.__qualname__,
        decimal_import="from decimal import Decimal\n" if _has_fraction(item) else "",
        exact=", parse_float=Decimal" if _has_fraction(item) else "",
        given=given,
        assertion=(
            "assert not tried.faults, tried.words" if is_alone else f'assert "{summary.reason}" not in tried.reasons'
        ),
    )


def _chosen(details: ReasonDetails) -> FailedSample:
    """An item that has no other cause, if there is one."""
    usable = [each for each in details.samples if each.stage is not Stage.READ and each.error_message != "data erased"]
    if not usable:
        raise ConfigurationError(
            f"no item of reason {details.summary.reason} can be given to its processor again: it could not be read, or "
            "its data was erased"
        )
    return min(usable, key=lambda each: len(each.reasons))


def _json_of(item: Any) -> str:
    if not isinstance(item, dict):
        return escaped_json(_value(item))
    lines = [f"    {json.dumps(name, ensure_ascii=False)}: {_value(value)}" for name, value in item.items()]
    return escaped_json("{\n" + ",\n".join(lines) + "\n}")


def _value(value: Any) -> str:
    """JSON, with each number as it was written."""
    match value:
        case Decimal():
            return str(value)
        case dict():
            return "{" + ", ".join(f"{json.dumps(name)}: {_value(each)}" for name, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_value, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _has_fraction(value: Any) -> bool:
    match value:
        case Decimal() | float():
            return True
        case dict():
            return any(map(_has_fraction, value.values()))
        case list():
            return any(map(_has_fraction, value))
    return False


def _disguised(value: Any, hidden: frozenset[str], *, is_hidden: bool = False) -> Any:
    """The item with values of the same shape for those that are shown nowhere: other letters and digits."""
    match value:
        case dict():
            return {
                name: _disguised(each, hidden, is_hidden=is_hidden or name in hidden) for name, each in value.items()
            }
        case list():
            return [_disguised(each, hidden, is_hidden=is_hidden) for each in value]
        case str() if is_hidden:
            return "".join(map(_alike, value))
        case bool():
            return value
        case int() if is_hidden:
            return int("".join(map(_alike, str(value))))
        case float() | Decimal() if is_hidden:
            return Decimal("".join(map(_alike, str(value))))
    return value


def _alike(character: str) -> str:
    if character.isdigit():
        return "1"
    if character.isalpha() and character.isupper():
        return "X"
    return "x" if character.isalpha() else character

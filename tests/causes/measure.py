"""Counts wrong merges and wrong splits of reasons: `python -m tests.causes.measure [--titles] [--reasons]`.

A reason that k causes share is k - 1 wrong merges, and a cause that is told as k reasons is k - 1 wrong splits.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import psycopg2

from reliable_imports import BatchManager
from tests.causes.corpus import EDITED, EDITED_ITEMS, HARMLESS_EDITS, cases

TABLES = Path(__file__).with_name("library") / "tables.sql"


@dataclass
class Grouping:
    """What was seen.

    Attributes:
        reasons: of each batch type and cause.
        causes: of each batch type and reason.
        titles: of the reasons, and the messages of their items.
    """

    reasons: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    causes: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    titles: set[str] = field(default_factory=set)
    not_failed: list[str] = field(default_factory=list)

    @property
    def merges(self) -> dict[tuple[str, str], set[str]]:
        return {key: found for key, found in self.causes.items() if len(found) > 1}

    @property
    def splits(self) -> dict[tuple[str, str], set[str]]:
        return {key: found for key, found in self.reasons.items() if len(found) > 1}


def prepare(manager: BatchManager) -> None:
    manager.migrate()
    manager.registry.discover("tests.causes.library.processors")
    connection = psycopg2.connect(manager.dsn)
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLES.read_text("utf-8"))
    connection.close()


def measure(manager: BatchManager) -> Grouping:
    """Import all cases twice, in two orders."""
    seen = Grouping()
    for batch_type, its_cases in cases().items():
        for ordered in (its_cases, its_cases[::-1]):
            batch_id = manager.create_batch(batch_type, [each.item for each in ordered])
            manager.process_batch(batch_id)
            titles = {each.reason: each.title for each in manager.failure_reasons(batch_id)}
            items = {each.item_number: each for each in manager.list_items(batch_id, limit=10_000)}
            for number, case in enumerate(ordered, 1):
                record = items[number]
                if record.reason is None:
                    seen.not_failed.append(f"{batch_type}: {case.cause} ({record.status.value})")
                    continue
                seen.reasons[batch_type, case.cause].add(record.reason)
                seen.causes[batch_type, record.reason].add(case.cause)
                seen.titles |= {titles[record.reason], record.error_message or ""}
    return seen


def edits_that_split(manager: BatchManager, folder: Path) -> list[str]:
    """Edits that leave all faults as they were, and after which one has another reason."""
    before = _reasons_of(manager, folder / "before.py", EDITED)
    found = []
    for number, (edit, (old, new)) in enumerate(HARMLESS_EDITS.items()):
        text = EDITED.replace(old, new)
        assert text != EDITED, edit
        after = _reasons_of(manager, folder / f"after_{number}.py", text)
        found += [f"{edit}: {cause}" for cause in EDITED_ITEMS if after[cause] != before[cause]]
    return found


def _reasons_of(manager: BatchManager, path: Path, text: str) -> dict[str, str | None]:
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    edited = BatchManager(manager.dsn)
    edited.registry.register(
        next(each for name, each in vars(module).items() if name in ("EditedProcessor", "OtherProcessor"))
    )
    batch_id = edited.create_batch("g_edited", list(EDITED_ITEMS.values()))
    edited.process_batch(batch_id)
    return {cause: item.reason for cause, item in zip(EDITED_ITEMS, edited.list_items(batch_id), strict=True)}


def main() -> None:
    manager = BatchManager()
    prepare(manager)
    seen = measure(manager)
    print(f"causes {len(seen.reasons)}, reasons {len(seen.causes)}")
    print(f"wrong merges {sum(len(found) - 1 for found in seen.merges.values())}")
    for (batch_type, reason), causes in sorted(seen.merges.items()):
        print(f"  {batch_type} {reason}: {', '.join(sorted(causes))}")
    print(f"wrong splits {sum(len(found) - 1 for found in seen.splits.values())}")
    for (batch_type, cause), reasons in sorted(seen.splits.items()):
        print(f"  {batch_type} {cause}: {', '.join(sorted(reasons))}")
    with tempfile.TemporaryDirectory() as folder:
        edits = edits_that_split(manager, Path(folder))
    print(f"harmless edits that split {len(edits)}")
    for edit in edits:
        print(f"  {edit}")
    for each in seen.not_failed:
        print(f"did not fail: {each}")
    if "--titles" in sys.argv:
        print(*sorted(seen.titles), sep="\n")
    if "--reasons" in sys.argv:  # to compare with those of another server, such as one that speaks another language
        for (batch_type, cause), reasons in sorted(seen.reasons.items()):
            print(batch_type, *sorted(reasons), cause)


if __name__ == "__main__":
    main()

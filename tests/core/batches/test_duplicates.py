"""Duplicates that are looked for while items are read are those that the server finds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext
from reliable_imports.batches import duplicates
from tests.core.conftest import Sql

_VALUES = st.one_of(
    st.sampled_from(["7", 7, 7.0, "7.0", 1e2, "100.0", True, "true", None, "", "NA", "a\\b", "é", "\ud800", "\0", [7]]),
    st.text(max_size=2),
    st.integers(-2, 2),
)
_ITEMS = st.lists(
    st.one_of(
        st.fixed_dictionaries({"a": _VALUES, "b": _VALUES}),
        st.fixed_dictionaries({"a": _VALUES}),
        st.sampled_from([7, "7", [7], {"c": {"a": 7}}]),
    ),
    max_size=12,
)


class OnePartProcessor(BaseProcessor):
    natural_key = ("a",)
    null_tokens = frozenset({"", "NA"})

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        pass


class TwoPartsProcessor(OnePartProcessor):
    natural_key = ("a", "b")


@pytest.mark.parametrize("processor", [OnePartProcessor, TwoPartsProcessor])
def test_duplicates_are_those_that_the_server_finds(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch, processor: type[BaseProcessor]
) -> None:
    manager.registry.register(processor)

    def found(items: list[Any], *, by_server: bool) -> list[Any]:
        with monkeypatch.context() as patched:
            if by_server:
                patched.setattr(duplicates.SeenKeys, "note", lambda self, keys: setattr(self, "may_repeat", True))
            batch_id = manager.create_batch(processor.batch_type, [*items, {"a": "x", "b": "x"}])
        return sql(
            "SELECT item_number, duplicate_of FROM reliable_imports.import_duplicates WHERE batch_id = %s ORDER BY 1",
            batch_id,
        )

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(_ITEMS)
    def same(items: list[Any]) -> None:
        assert found(items, by_server=False) == found(items, by_server=True)

    same()


def test_duplicates_are_found_however_far_apart(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicates, "_GENERATION", 100)
    manager.registry.register(OnePartProcessor)
    numbers = [*range(2_000), 3]

    batch_id = manager.create_batch("one_part", ({"a": number, "text": "x" * 50} for number in numbers))

    assert sql("SELECT * FROM reliable_imports.import_duplicates") == [(batch_id, 4, 2_001, False)]


def test_a_batch_without_duplicates_is_not_looked_through(
    manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the server was asked")

    monkeypatch.setattr(duplicates.Keying, "_unreadable", refuse)
    manager.registry.register(OnePartProcessor)

    batch_id = manager.create_batch("one_part", [{"a": "1"}, {"a": 2}, {"a": None}, {"b": 1}])

    assert sql("SELECT count(*) FROM reliable_imports.import_duplicates WHERE batch_id = %s", batch_id) == [(0,)]

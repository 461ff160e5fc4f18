"""Names that are made of names."""

from __future__ import annotations

import keyword

import pytest

from reliable_imports.errors import ConfigurationError
from reliable_imports.scaffold import names
from reliable_imports.scaffold.draft import table_name
from reliable_imports.scaffold.names import class_name, column_names, unique_headings


@pytest.mark.parametrize(
    ("source", "column"),
    [
        ("Order No.", "order_no"),
        ("orderID", "order_id"),
        ("HTTPStatus", "http_status"),
        ("Größe (cm)", "groesse_cm"),
        ("Café", "cafe"),
        ("share %", "share_percent"),
        ("order", "order_"),
        ("1960", "c_1960"),
        ("___", "column_1"),
        ("", "row_name"),
        ("Город", "город"),
        ("x" * 100, "x" * 60),
        ("ctid", "ctid_"),
    ],
)
def test_a_column_needs_no_quotes(source: str, column: str) -> None:
    assert column_names([source]) == {source: column}


def test_no_two_columns_are_alike() -> None:
    assert list(column_names(["a b", "A-B", "a_b_2"]).values()) == ["a_b", "a_b_2", "a_b_2_2"]
    assert unique_headings(["x", "", "x", "x_2"]) == ["x", "column_2", "x_3", "x_2"]


@pytest.mark.parametrize(
    ("batch_type", "name"), [("orders", "OrdersProcessor"), ("order_lines", "OrderLinesProcessor")]
)
def test_a_class_is_named_after_its_type(batch_type: str, name: str) -> None:
    assert class_name(batch_type) == name


@pytest.mark.parametrize(
    ("batch_type", "hint"),
    [
        ("Order Lines", "order_lines"),
        ("order-lines", "order_lines"),
        ("class", "class_rows"),
        ("2024", "c_2024"),
        ("a__b", "a_b"),
        ("\u5317", None),
    ],
)
def test_a_type_that_no_class_can_have_is_refused_with_a_hint(batch_type: str, hint: str | None) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        class_name(batch_type)

    assert ("did you mean" in str(refusal.value)) == (hint is not None)
    assert hint is None or f"did you mean {hint}?" in str(refusal.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [("orders", "orders"), ("shop.orders", "shop.orders"), ('shop."Order"', 'shop."Order"'), ("order", '"order"')],
)
def test_a_table_is_named_as_sql_does(text: str, name: str) -> None:
    assert table_name(text) == name


@pytest.mark.parametrize("text", ["", "a.b.c", ".", '"; DROP', "{name}", "a b"])
def test_what_is_no_name_of_a_table_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        table_name(text)


def test_words_that_dagster_keeps_are_those_that_it_refuses() -> None:
    from dagster._core.definitions.utils import DISALLOWED_NAMES  # no public name

    assert {name for name in DISALLOWED_NAMES if not keyword.iskeyword(name)} == names._DAGSTERS_OWN

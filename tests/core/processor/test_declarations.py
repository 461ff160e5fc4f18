"""What a processor declares and cannot have meant is told when it is registered, with class and attribute."""

from __future__ import annotations

import inspect
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reliable_imports import BaseProcessor, InvalidProcessor, ProcessorRegistry, ProcessorWarning, TableProcessor
from reliable_imports.processor.declarations import ATTRIBUTES, mistakes_of


@dataclass
class Order:
    id: int
    email: str


class GoodProcessor(TableProcessor):
    table = "orders"
    key = ("id",)
    model = Order


def with_attributes(base: type[BaseProcessor] = GoodProcessor, **attributes: object) -> type[BaseProcessor]:
    return type("OrdersProcessor", (base,), attributes)


def refusal(processor: type[BaseProcessor]) -> str:
    with pytest.raises(InvalidProcessor) as raised:
        ProcessorRegistry().register(processor)
    return str(raised.value)


def test_the_defaults_are_in_order() -> None:
    ProcessorRegistry().register(GoodProcessor)


def test_every_attribute_is_in_the_table() -> None:
    for base, attributes in ATTRIBUTES.items():
        declared = {name for name, kind in vars(base)["__annotations__"].items() if "ClassVar" in kind}
        assert {attribute.name for attribute in attributes} == {name for name in declared if not name.startswith("_")}


@pytest.mark.parametrize("name", [each.name for attributes in ATTRIBUTES.values() for each in attributes])
def test_a_value_that_cannot_be_meant_is_refused_with_class_and_attribute(name: str) -> None:
    said = refusal(with_attributes(**{name: object()}))
    assert said.startswith(f"processor OrdersProcessor cannot be used: {name} is of type object; it must be ")


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"batch_type": " "}, "batch_type is ' '; it must be a printable text that is not empty"),
        ({"batch_type": "a\0b"}, "batch_type is"),
        ({"depends_on": "airlines"}, "depends_on is 'airlines'; it must be a sequence of batch types"),
        ({"natural_key": "id"}, "natural_key is 'id'; it must be a sequence of field names, such as (\"id\",)"),
        ({"null_tokens": "NA"}, "null_tokens is 'NA'; it must be a set of texts"),
        ({"setup_sql": "x.sql"}, "setup_sql is 'x.sql'; it must be a pathlib.Path"),
        ({"source_options": {}}, "source_options is of type dict; it must be a SourceOptions"),
        ({"duplicates": "some"}, "duplicates is 'some'; it must be one of last_wins, first_wins, fail"),
        ({"item_timeout": timedelta(0)}, "item_timeout is of type timedelta; it must be a datetime.timedelta above 0"),
        ({"max_failed_share": 5.0}, "max_failed_share is 5.0; it must be a number from 0 to 1"),
        ({"max_tries": True}, "max_tries is True; it must be a whole number from 1"),
        ({"partitions": "daily from 2024-13-01"}, "partitions is 'daily from 2024-13-01'"),
        ({"key": 5}, "key is 5; it must be a UniqueIndex, or a sequence of columns"),
        ({"existing": "ignore"}, "existing is 'ignore'; it must be one of update, rewrite, keep"),
        ({"null_keys": "skip"}, "null_keys is 'skip'; it must be one of fail, insert"),
        ({"never_updated": "created_at"}, "never_updated is 'created_at'; it must be a sequence of columns"),
        ({"rename": ["id"]}, "rename is of type list; it must be a mapping of source names to names"),
        (
            {"decimal_comma": "price"},
            "decimal_comma is 'price'; it must be True, False, or a collection of field names",
        ),
        ({"dates": "dd.mm.yyyy"}, "dates is 'dd.mm.yyyy'; it must be a format of strptime"),
        ({"dates": {"day": "%d.%Q"}}, "dates is of type dict; it must be a format of strptime"),
        ({"schedule": "every day"}, "schedule is 'every day'; it must be a cron expression of five fields"),
        ({"schedule": "0 25 * * *"}, "schedule is '0 25 * * *'"),
        ({"schedule": "0 0 6 * * *"}, "schedule is '0 0 6 * * *'"),
    ],
)
def test_the_words_say_what_is_there_and_what_must_be(attributes: dict[str, object], words: str) -> None:
    assert words in refusal(with_attributes(**attributes))


def test_all_mistakes_are_told_at_once_and_no_password() -> None:
    said = refusal(with_attributes(decimals="yes", source="us3r:s3cret@host/file"))
    assert "source is of type str; it must be" in said
    assert "decimals is 'yes'; it must be True or False" in said
    assert "s3cret" not in said


@pytest.mark.parametrize("schedule", ["0 6 * * *", "*/5 8-18 * * mon-fri", "@daily"])
def test_a_cron_expression_is_taken(schedule: str) -> None:
    ProcessorRegistry().register(with_attributes(schedule=schedule))


def test_nothing_of_cron_is_loaded_for_those_who_declare_no_schedule() -> None:
    code = (
        "import sys\n"
        "from reliable_imports import BaseProcessor, ProcessorRegistry\n"
        "@ProcessorRegistry().register\n"
        "class XProcessor(BaseProcessor):\n"
        "    def process_item(self, item, ctx): pass\n"
        "print('croniter' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


@pytest.mark.parametrize(
    ("name", "value", "meant"),
    [
        ("null_token", frozenset({"NA"}), "null_tokens"),
        ("null_values_", None, None),
        ("max_try", 3, None),
        ("max_trys", 3, "max_tries"),
        ("schedual", "0 6 * * *", "schedule"),
        ("naturalkey", ("id",), "natural_key"),
        ("depend_on", ("customers",), "depends_on"),
        ("transient_error", (OSError,), "transient_errors"),
        ("tables", ("a", "b"), None),  # there is a table already
        ("_null_token", frozenset(), None),
        ("validate_items", lambda self, item, ctx: True, "validate_item"),
        ("on_batch_completed", lambda self, summary, ctx: None, "on_batch_complete"),
        ("sources", lambda self: None, None),  # a method is no misspelt attribute
        ("sources", property(lambda self: None), None),
    ],
)
def test_a_name_that_is_nearly_one_of_ours_is_refused(name: str, value: object, meant: str | None) -> None:
    processor = with_attributes(**{name: value})
    if meant is None:
        ProcessorRegistry().register(processor)
    else:
        assert f"OrdersProcessor.{name} is not known to a processor; did you mean {meant}?" in refusal(processor)


def test_a_nested_class_is_compared_with_params() -> None:
    class OrdersProcessor(GoodProcessor):
        class Param:
            pass

    assert "OrdersProcessor.Param is not known to a processor; did you mean Params?" in refusal(OrdersProcessor)


def test_a_misspelling_in_a_base_names_the_base() -> None:
    base = type("TeamProcessor", (BaseProcessor,), {"max_trie": 4})
    processor = with_attributes(base, process_item=lambda self, item, ctx: None)
    assert "TeamProcessor.max_trie" in refusal(processor)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module `team` that can be imported, and is forgotten after the test."""
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "team.py"
    sys.modules.pop("team", None)


@pytest.mark.parametrize(("wrong", "meant"), [("tabel", "table"), ("kye", "key"), ("modle", "model")])
def test_a_class_that_lacks_what_is_misspelt_is_no_base(package: Path, wrong: str, meant: str) -> None:
    lines = {"table": "table = 'orders'", "key": "key = ('id',)", "model": "model = dict"}
    lines[meant] = lines[meant].replace(meant, wrong, 1)
    body = "".join(f"    {line}\n" for line in lines.values())
    package.write_text(f"from reliable_imports import TableProcessor\nclass OrdersProcessor(TableProcessor):\n{body}")
    with pytest.raises(InvalidProcessor, match=rf"OrdersProcessor\.{wrong} .*; did you mean {meant}\?"):
        ProcessorRegistry().discover("team")


def test_a_misspelt_process_item_is_told_at_discovery(package: Path) -> None:
    package.write_text(
        "from reliable_imports import BaseProcessor\n"
        "class OrdersProcessor(BaseProcessor):\n    def proces_item(self, item, ctx): pass\n"
    )
    with pytest.raises(InvalidProcessor, match=r"OrdersProcessor\.proces_item .*; did you mean process_item\?"):
        ProcessorRegistry().discover("team")


def processors(*lines: str) -> str:
    bodies = "".join(
        f"class {name}Processor(BaseProcessor):\n    {body}\n    def process_item(self, item, ctx): pass\n"
        for name, body in (line.split(": ", 1) for line in lines)
    )
    return f"from reliable_imports import BaseProcessor\n{bodies}"


def test_a_dependency_that_is_nearly_a_type_is_refused(package: Path) -> None:
    package.write_text(processors("Orders: depends_on = ('custmers',)", "Customers: pass"))
    with pytest.raises(InvalidProcessor, match=r"OrdersProcessor .*: depends_on names 'custmers', .* 'customers'"):
        ProcessorRegistry().discover("team")


def test_a_dependency_on_itself_is_refused(package: Path) -> None:
    package.write_text(processors("Orders: depends_on = ('orders',)"))
    with pytest.raises(InvalidProcessor, match=r"OrdersProcessor .*: depends_on names 'orders', which is this"):
        ProcessorRegistry().discover("team")


def test_a_dependency_that_nobody_has_is_warned_of(package: Path) -> None:
    package.write_text(processors("Orders: depends_on = ('warehouses',)"))
    with pytest.warns(ProcessorWarning) as told:
        assert ProcessorRegistry().discover("team") == ["orders"]
    assert [str(each.message) for each in told] == [
        "processor OrdersProcessor: depends_on names 'warehouses', which no processor found here has"
    ]


def test_packages_that_depend_on_each_other_are_discovered_together(package: Path) -> None:
    package.write_text(processors("Orders: depends_on = ('shops',)"))
    package.with_name("team_shops.py").write_text(processors("Shops: pass"))
    assert ProcessorRegistry().discover("team", "team_shops") == ["orders", "shops"]


def test_a_natural_key_that_the_model_does_not_read_is_refused() -> None:
    assert mistakes_of(with_attributes(natural_key=("id", "email"))) == []
    said = refusal(with_attributes(natural_key=("id", "emial")))
    assert "natural_key names 'emial', which the model does not read; did you mean 'email'?" in said
    assert "which the model does not read; it reads email, id" in refusal(with_attributes(natural_key=("zip",)))


def test_a_natural_key_goes_by_the_name_in_the_source() -> None:
    from pydantic import BaseModel, Field

    class Airline(BaseModel):
        carrier: str = Field(alias="Carrier code")

    processor = with_attributes(model=Airline, natural_key=("Carrier code",))
    assert mistakes_of(processor) == []
    assert "natural_key names 'carrier'" in refusal(with_attributes(model=Airline, natural_key=("carrier",)))


class ForgottenReturn(GoodProcessor):
    def validate_item(self, item: Any, ctx: Any) -> Any:
        "@" in item.source_data["email"]  # noqa: B015


class ForgottenLastReturn(GoodProcessor):
    def validate_item(self, item: Any, ctx: Any) -> Any:  # noqa: RET503
        def has_email() -> bool:
            return True

        if not has_email():
            return False


class ReturnsSomething(GoodProcessor):
    def validate_item(self, item: Any, ctx: Any) -> Any:
        if item.source_data.get("email"):
            return True
        return None


class RefusesByAnError(GoodProcessor):
    def validate_item(self, item: Any, ctx: Any) -> Any:
        raise ValueError("none is good enough")


@pytest.mark.parametrize("processor", [ForgottenReturn, ForgottenLastReturn])
def test_a_validation_that_can_accept_nothing_is_refused(processor: type[BaseProcessor]) -> None:
    said = refusal(processor)
    assert f"{processor.__qualname__} cannot be used: validate_item never returns anything true" in said


@pytest.mark.parametrize("processor", [ReturnsSomething, RefusesByAnError])
def test_a_validation_that_can_accept_or_says_why_not_is_taken(processor: type[BaseProcessor]) -> None:
    assert inspect.getsource(processor.validate_item)
    ProcessorRegistry().register(processor)


def own_processor(**attributes: object) -> type[BaseProcessor]:
    return with_attributes(BaseProcessor, process_item=lambda self, item, ctx: None, **attributes)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"decimal_comma": True}, "decimal_comma is True, and no model says which fields are numbers; name them"),
        ({"dates": "%d.%m.%Y"}, "dates names no fields, and no model says which are dates; name them"),
        ({"natural_key": ("Nr.",), "rename": {"Nr.": "id"}}, "natural_key names 'Nr.', which rename calls 'id'"),
        ({"dates": {"Tag": "%d.%m.%Y"}, "rename": {"Tag": "day"}}, "dates names 'Tag', which rename calls 'day'"),
    ],
)
def test_fields_whose_writing_is_declared_are_known(attributes: dict[str, object], words: str) -> None:
    assert words in refusal(own_processor(**attributes))


def test_a_swap_of_two_names_is_no_mistake() -> None:
    ProcessorRegistry().register(own_processor(natural_key=("a",), rename={"a": "b", "b": "a"}))

"""What exists is documented, and what is documented exists."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import click
import psycopg2
import pytest

from reliable_imports import (
    BaseProcessor,
    ImportContext,
    ReliableImportsError,
    ReprocessRequest,
    SourceOptions,
    TableProcessor,
    WhichItems,
    errors,
)
from reliable_imports.cli.main import cli
from reliable_imports.statuses import BatchStatus, ItemStatus
from tests.docs import attributes

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
LIFE = (ROOT / "docs" / "life-of-a-batch.md").read_text()
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
    (ROOT / "docs").glob("*.md")
)


def commands(group: click.Group, prefix: str = "") -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, f"{prefix}{name} ")
        else:
            found[prefix + name] = command
    return found


def test_every_command_and_option_is_documented() -> None:
    assert isinstance(cli, click.Group)
    for name, command in commands(cli).items():
        assert f"`{name}" in REFERENCE, f"command {name} is not in docs/reference.md"
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert parameter.opts[-1] in REFERENCE, f"option {parameter.opts[-1]} of {name} is not documented"


def test_everything_of_a_request_to_reprocess_is_documented() -> None:
    section = REFERENCE.split("## What is run again")[1].split("\n## ")[0]
    words = set(re.findall(r"`(\w+)`", section))
    assert words >= {field.name for field in dataclasses.fields(ReprocessRequest)} | {
        which.value for which in WhichItems
    }


def test_every_status_is_documented() -> None:
    for status in (*BatchStatus, *ItemStatus):
        assert f"| `{status}` |" in LIFE


def test_every_error_is_documented() -> None:
    for error in vars(errors).values():
        if isinstance(error, type) and issubclass(error, ReliableImportsError):
            assert f"`{error.__name__}`" in REFERENCE, error.__name__


@pytest.mark.parametrize("kind", [BaseProcessor, TableProcessor, ImportContext])
def test_every_public_name_of_a_processor_is_documented(kind: type) -> None:
    for name in {**vars(kind), **getattr(kind, "__annotations__", {})}:
        if not name.startswith("_"):
            assert re.search(rf"`{name}\b", REFERENCE), f"{kind.__name__}.{name} is not in docs/reference.md"


def test_the_table_of_attributes_is_that_of_the_declarations() -> None:
    assert attributes.written(REFERENCE) == REFERENCE, "`python -m tests.docs.attributes` writes it anew"


def test_every_option_of_a_source_and_every_kind_of_unreadable_item_is_documented() -> None:
    section = REFERENCE.split("\n## Files\n")[1].split("\n## ")[0]
    for field in dataclasses.fields(SourceOptions):
        assert re.search(rf"^\|.*`{field.name}`.* \|", section, re.MULTILINE), field.name
    code = "".join(path.read_text() for path in (ROOT / "reliable_imports").rglob("*.py"))
    kinds = set(re.findall(r'Problem\(\s*"([a-z-]+)"', code)) | set(re.findall(r'"([a-z]+-[a-z-]+)" if cells', code))
    assert {"bad-json", "short-row"} <= kinds
    for kind in kinds:
        assert f"`{kind}`" in section, kind


def test_every_setting_is_documented() -> None:
    code = "".join(path.read_text() for path in (ROOT / "reliable_imports").rglob("*.py"))
    for variable in set(re.findall(r"(?<!_)RELIABLE_IMPORTS_[A-Z_]+", code)):
        assert f"`{variable}`" in REFERENCE


def test_every_table_and_view_is_documented_and_exists(database: str) -> None:
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'reliable_imports'")
        existing = {name for (name,) in cursor.fetchall()}
    connection.close()
    section = REFERENCE.split("## Tables and views")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == existing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"

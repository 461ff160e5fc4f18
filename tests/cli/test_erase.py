from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run


@pytest.fixture
def imported(run: Run, project: Path, tmp_path: Path) -> Path:
    """Two batches with Ann in them, once failed; her e-mail address is her key."""
    module = project / "shop" / "__init__.py"
    module.write_text(module.read_text().replace("    setup_sql", '    natural_key = ("email",)\n    setup_sql', 1))
    rows = [
        {"email": "ann@example.com", "name": "Nobody", "complaint": "Ann moved"},
        {"email": "ben@example.com", "name": "Ben"},
        {"email": "cid@example.com", "name": "Nobody"},
    ]
    for number in (1, 2):
        file = tmp_path / f"people-{number}.jsonl"
        file.write_text("".join(json.dumps({**row, "delivery": number}) + "\n" for row in rows))
        assert run("import", file, "--as", "people").status == 1
    return file


def test_a_person_is_erased_and_every_command_says_so(run: Run, imported: Path) -> None:
    refused = run("erase", "--as", "people", "--key", "ann@example.com")
    assert refused.status == 2
    assert refused.err == (
        "error: the data of 2 items in 2 batches would be gone for good; say --yes where nobody can be asked; "
        "`reliable-imports erase --help` shows how it is used\n"
    )

    answer = run("erase", "--as", "people", "--key", "ann@example.com", "--yes", "--note", "letter 17")
    assert answer.status == 0
    assert answer.lines == [
        "the data of 2 items in 2 batches is erased",
        "batch\ttype\titems",
        "1\tpeople\t1",
        "2\tpeople\t1",
    ]
    again = run("erase", "--as", "people", "--key", "email=ann@example.com", "--yes", "--json")
    assert (again.document["total_items"], again.document["items"]) == (0, {})

    [reason] = run("failures", "1", "--json").document["reasons"]
    assert (reason["items"], reason["outstanding"]) == (2, 1)
    shown = run("failures", "1", "--reason", reason["reason"])
    assert any("data erased\tdata erased" in line or line.endswith("data erased") for line in shown.lines)
    assert "ann" not in shown.out.casefold()
    assert "outstanding\t1 failure across its lineage" in run("status", "1").lines
    assert any("data erased on request" in line and "letter 17" in line for line in run("logs", "1").lines)
    assert run("verify").status == 0


def test_a_person_is_erased_from_every_type_that_has_the_field(run: Run, imported: Path, tmp_path: Path) -> None:
    addresses = tmp_path / "addresses.jsonl"
    addresses.write_text('{"id": 1, "email": "ann@example.com"}\n{"id": 2, "email": "ben@example.com"}\n')
    run("import", addresses, "--as", "addresses")

    refused = run("erase", "--key", "email=ann@example.com")
    assert refused.status == 2
    assert "gone for good (addresses: 1 item of batch 3; people: 2 items in 2 batches); say --yes" in refused.err
    assert "name the field, as in email=VALUE, or the type" in run("erase", "--key", "ann@example.com", "--yes").err
    answer = run("erase", "--key", "email=ann@example.com", "--yes")
    assert answer.lines[0] == "the data of 3 items in 3 batches is erased"
    assert "3\taddresses\t1" in answer.lines
    assert run("erase", "--as", "people", "--as", "addresses", "--key", "email=ann@example.com", "--yes").lines == [
        "nothing to erase: no item of addresses, people has this key, or its data was erased already"
    ]
    assert run("verify").status == 0


def test_what_was_erased_is_left_out_of_a_reprocess_and_that_is_said(run: Run, imported: Path) -> None:
    for person in ("ann", "cid"):
        assert run("erase", "--as", "people", "--key", f"{person}@example.com", "--yes").status == 0

    answer = run("reprocess", "1")
    assert answer.status == 0
    assert answer.lines == [
        "nothing to reprocess: nothing is outstanding across the lineage of batch 1",
        "2 failed items of it cannot be repeated: data erased",
    ]
    assert run("reprocess", "1", "--json").document["erased_failures"] == 2
    assert run("reprocess", "1", "--all", "--json").document["total_items"] == 1
    assert "data erased\tof 2 items" in run("status", "1").lines
    assert "2 failed items of the lineage cannot be repeated: data erased" in run("failures", "1").lines


def test_a_key_is_read_as_a_person_would_mean_it(run: Run, imported: Path, people: Callable[..., Path]) -> None:
    for keys, words in {
        ("emial=ann@example.com",): "has no field 'emial' to erase by; it has email",
        ("email=a", "email=b"): "a key of several fields is given as --key FIELD=VALUE --key FIELD=VALUE",
        (" ",): "an empty key would name nobody",
    }.items():
        answer = run("erase", "--as", "people", *[part for key in keys for part in ("--key", key)], "--yes")
        assert answer.status == 2
        assert words in answer.err
    answer = run("erase", "--as", "people", "--key", "ANN@example.com", "--yes")
    assert answer.lines == [
        "nothing to erase: no item of people has this key, or its data was erased already",
        "2 items in 2 batches were left: the key differs only in capitals or blanks, or stands in a line that could "
        "not be read; --alike erases such items too",
    ]
    assert run("erase", "--as", "people", "--key", "ANN@example.com", "--alike", "--yes").lines[0] == (
        "the data of 2 items in 2 batches is erased"
    )
    run("create", "people", people(good=1))
    answer = run("erase", "--as", "people", "--key", "p0@example.com", "--yes")
    assert answer.status == 2
    assert "item 1 of batch 3 is pending: nothing was erased" in answer.err

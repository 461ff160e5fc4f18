from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Run

People = Callable[..., Path]


def test_a_page_about_a_batch_and_about_a_type(run: Run, people: People, tmp_path: Path) -> None:
    run("import", people(good=2, unknown=1), "--as", "people")

    answer = run("report", "1", "-o", tmp_path / "one.html", RELIABLE_IMPORTS_WEBSERVER="https://dagster.example.com")
    assert (answer.status, answer.lines) == (0, [f"{tmp_path / 'one.html'} is written"])
    page = (tmp_path / "one.html").read_text(encoding="utf-8")
    assert "people: 2 of 3 items went in, 1 did not" in page
    assert "n0@example.com" in page

    assert run("report", "people", "--output", tmp_path / "type.html", "--no-values", "--json").document == {
        "file": str(tmp_path / "type.html"),
        "batch_type": "people",
        "shows_values": False,
    }
    page = (tmp_path / "type.html").read_text(encoding="utf-8")
    assert "Why items still wait" in page
    assert "n0@example.com" not in page


def test_without_processors_a_page_shows_no_data(run: Run, people: People, tmp_path: Path) -> None:
    run("import", people(unknown=1), "--as", "people")

    answer = run("report", "1", "-o", tmp_path / "page.html", cwd=tmp_path)
    assert answer.lines[1] == (
        "without data of items, for no processor of people is known here to say what is sensitive"
    )
    assert "n0@example.com" not in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_what_cannot_be_reported_is_said(run: Run, tmp_path: Path) -> None:
    for subject, file, words in (
        ("7", tmp_path / "page.html", "there is no batch 7"),
        ("peple", tmp_path / "page.html", "no processor for batch type 'peple'"),
        ("people", tmp_path / "nowhere" / "page.html", "there is no folder"),
        ("people", tmp_path, "is a directory"),
    ):
        answer = run("report", subject, "-o", file)
        assert answer.status == 2
        assert words in answer.err
    answer = run("report", "people", "-o", "page.html", RELIABLE_IMPORTS_WEBSERVER="javascript:alert(1)")
    assert "RELIABLE_IMPORTS_WEBSERVER is no address that begins with http:// or https://" in answer.err

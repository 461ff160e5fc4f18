"""A page for people without a shell: it tells what there is to tell, and no data can make it tell anything else."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from reliable_imports import BatchManager, ReprocessRequest, UnknownBatch, UnknownBatchType
from reliable_imports.report import Showing, render, report_on_batch, report_on_type, write_report
from reliable_imports.report.page import visible
from tests.conftest import Sql
from tests.report.conftest import GuestsProcessor

TIMES = "\N{MULTIPLICATION SIGN}"
HOSTILE = [
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "a\u202ereversed\u2066",
    "bell\x07 escape\x1b[31m nul? \x9b",
    "&lt;b&gt; &amp;",
    "]]><!--",
    "x" * 5_000,
]


class Reader(HTMLParser):
    """What a browser makes of a page: its elements with their attributes, and its text without the style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self._inside: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.texts.append(" ")
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._inside.pop() == tag, f"</{tag}> closes another element"
        self.texts.append(" ")

    def handle_data(self, data: str) -> None:
        if "style" not in self._inside:
            self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r" (?=[,.])", "", " ".join("".join(self.texts).split()))


def read(manager: BatchManager, subject: int | str, showing: Showing | None = None) -> Reader:
    showing = Showing.of(GuestsProcessor) if showing is None else showing
    page = (
        report_on_batch(manager, subject, showing)
        if isinstance(subject, int)
        else report_on_type(manager, subject, showing)
    )
    return Reader(render(page, webserver="https://dagster.example.com/"))


@pytest.fixture
def worked(guests: BatchManager) -> int:
    """A batch with guests that are in, skipped, without a name, in no room, and complaining."""
    items = [
        {"name": "Ann", "room": 1},
        {"name": "Ben", "room": 1, "skip": "a child"},
        {"name": None, "room": 2, "iban": "DE02120300000000202051"},
        *[{"name": f"Guest {number}", "room": 7 + number % 2, "iban": "DE02120300000000202051"} for number in range(3)],
        {"name": "Cid", "room": 2, "complaint": "too loud"},
    ]
    batch_id = guests.create_batch("guests", items, source="/home/somebody/guests.json", requested_by="the desk")
    guests.process_batch(batch_id)
    return batch_id


def test_it_tells_what_went_in_what_did_not_and_why_in_words(guests: BatchManager, worked: int) -> None:
    text = read(guests, worked).text

    assert "guests: 1 of 7 items went in, 5 did not" in text
    assert "From guests.json, delivered" in text, "and not where it lies on which machine"
    assert "5 items still wait to be repaired and run again" in text
    assert "3 items There is no such room in rooms yet. 3 still to repair" in text
    assert f"What room held most often 7 {TIMES} 2 8 {TIMES} 1" in text
    assert "Name is empty, and must not be. 1 still to repair" in text
    assert f"What name held most often empty {TIMES} 1" in text
    assert "item 4 room 7 name Guest 0" in text, "what is at fault comes first"
    assert "1 known: a child" in text
    assert "asked for by the desk" in text
    assert text.index("There is no such room") < text.index("Name is empty"), "the most frequent first"


def test_what_is_done_about_it_is_told(guests: BatchManager, worked: int, sql: Sql) -> None:
    sql("INSERT INTO rooms VALUES (7)")
    [reason] = [each.reason for each in guests.failure_reasons(worked) if each.items == 3]
    guests.reprocess_batch(worked, ReprocessRequest(reasons=[reason], note="room 7 is built", requested_by="the boss"))
    again = guests.create_reprocess_batch(worked, ReprocessRequest(reasons=[reason]))
    guests.process_batch(worked, dagster_run_id="not a run")

    text = read(guests, worked).text

    assert "3 items There is no such room in rooms yet. 2 repaired 1 being run again" in text
    assert "2 items still wait to be repaired and run again. 2 of those that failed are in by now." in text
    assert "2 runs items of batch 1 again the boss “room 7 is built” completed, with failures 3 2 1" in text
    assert f"{again} runs items of batch 2 again not begun 1 0 0" in text or "runs items of batch 1 again" in text


def test_runs_of_dagster_are_linked_where_its_address_is_known(guests: BatchManager) -> None:
    batch_id = guests.create_batch("guests", [{"name": "Ann"}])
    guests.process_batch(batch_id, dagster_run_id="0123456789/../x")

    links = [attributes["href"] for tag, attributes in read(guests, batch_id).elements if tag == "a"]
    assert links == ["https://dagster.example.com/runs/0123456789%2F..%2Fx"]
    assert "<a" not in render(report_on_batch(guests, batch_id, Showing()))


def test_sensitive_fields_are_masked_and_without_a_processor_no_data_is_shown(
    guests: BatchManager, worked: int
) -> None:
    assert "iban ***" in read(guests, worked).text
    nested = guests.create_batch("guests", [{"name": None, "account": [{"iban": "DE0212", "bank": "Ours"}]}])
    guests.process_batch(nested)
    text = read(guests, nested).text
    assert '[{"iban": "***", "bank": "Ours"}]' in text
    copied = guests.create_batch("guests", [{"name": None, "iban": "DE0212", "remark": "account de0212 of Ann"}])
    guests.process_batch(copied)
    assert "account *** of Ann" in read(guests, copied).text
    assert "***" in read(guests, copied, Showing()).text, "the run has said so"

    for showing in (Showing.of(None), Showing(values=False)):
        text = read(guests, worked, showing).text
        assert "This page shows no data of items." in text
        for value in ("Guest", "DE02", "N7", "a child"):
            assert value not in text
        assert "There is no such room in rooms yet" in text


def test_a_line_that_could_not_be_read_is_masked_as_a_whole_where_a_field_is(
    guests: BatchManager, tmp_path: Path, sql: Sql
) -> None:
    (tmp_path / "guests.csv").write_text("name,iban\nAnn,DE0212,more\n")
    batch_id = guests.create_batch("guests", guests.open_source("guests", tmp_path / "guests.csv"))
    guests.process_batch(batch_id)

    assert "DE0212" not in read(guests, batch_id).text
    sql("UPDATE reliable_imports.import_runs SET sensitive = '{}'")
    assert "Ann,DE0212,more" in read(guests, batch_id, Showing()).text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_data_can_become_markup_or_turn_the_text_around(guests: BatchManager, sql: Sql, text: str) -> None:
    items = [
        {text: text, "name": text, "complaint": text[::-1]},
        {"name": text, "skip": text},
        {"name": None, "room": 1, text: [text]},
        text,
    ]
    batch_id = guests.create_batch("guests", items, source=text, idempotency_key=None, requested_by=text)
    guests.process_batch(batch_id)
    guests.create_reprocess_batch(batch_id, ReprocessRequest(note=text, requested_by=text))
    guests.note_failure(guests.failures()[0].reason, text)
    sql("UPDATE reliable_imports.import_batches SET warnings = ARRAY[%s]", text)
    sql("UPDATE reliable_imports.import_batches SET status = 'paused', pause_reason = %s WHERE id = 2", text)
    plain = guests.create_batch("guests", [{"name": None}, {"name": "a", "complaint": "b"}, {"name": "c", "skip": "d"}])
    guests.process_batch(plain)

    for subject in (batch_id, batch_id + 1, "guests"):
        page = read(guests, subject)
        assert {tag for tag, _ in page.elements} <= {
            "html", "head", "meta", "title", "style", "body", "main", "p", "h1", "h2", "h3", "div", "span", "ul", "li",
            "b", "section", "header", "small", "bdi", "dl", "dt", "dd", "table", "thead", "tbody", "tr", "th", "td",
            "footer", "time", "br", "a",
        }  # fmt: skip
        names = {name for _, attributes in page.elements for name in attributes}
        assert not {name for name in names if name.startswith("on") or name in ("src", "srcset")}
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", page.text)
    shown = read(guests, batch_id).text
    assert " ".join(str(visible(text[:100])).split()) in shown


def test_it_asks_the_network_for_nothing(guests: BatchManager, worked: int) -> None:
    page = render(report_on_batch(guests, worked, Showing()))

    assert "default-src 'none'" in page
    assert not re.search(r"https?://|url\(|@import|<script|<link|<img", page)


def test_an_empty_batch_one_of_failures_and_one_of_a_million_items(guests: BatchManager, sql: Sql) -> None:
    empty = guests.create_batch("guests", [])
    guests.process_batch(empty)
    assert "guests: nothing was delivered" in read(guests, empty).text

    failed = guests.create_batch("guests", [{"name": None}])
    assert "guests: 1 item waits to be worked" in read(guests, failed).text
    guests.process_batch(failed)
    assert "guests: none of 1 item went in" in read(guests, failed).text

    good = guests.create_batch("guests", [{"name": "Ann"}])
    guests.process_batch(good)
    text = read(guests, good).text
    assert "guests: all of 1 item is in" in text
    assert "Why items did not go in" not in text

    sql(
        "UPDATE reliable_imports.import_batches SET total_items = 1000000, completed_items = 999999, failed_items = 1, "
        "status = 'completed_with_failures' WHERE id = %s",
        good,
    )
    text = read(guests, good).text
    assert "guests: 999,999 of 1,000,000 items went in, 1 did not" in text
    assert "went in 99.9 %" in text
    assert "did not go in 0.1 %" in text


def test_erased_data_is_said_to_be(guests: BatchManager, worked: int) -> None:
    guests.erase({"name": "Guest 0"}, "guests")

    text = read(guests, worked).text
    assert "The data of 1 item was erased. It is still counted." in text
    assert "3 items There is no such room in rooms yet. 2 still to repair 1 erased" in text
    assert "Guest 0" not in text


def test_a_whole_type_is_told_by_what_is_still_open(guests: BatchManager, worked: int) -> None:
    later = guests.create_batch("guests", [{"name": "Dan", "room": 9}], source="tuesday.json")
    guests.process_batch(later)

    text = read(guests, "guests").text
    assert "guests: 1 of 8 items went in, 6 did not" in text
    assert "2 deliveries so far" in text
    assert "Why items still wait 4 items There is no such room in rooms yet. 4 still to repair in 2 deliveries" in text
    assert "The newest deliveries" in text
    assert "tuesday.json" in text
    with pytest.raises(UnknownBatchType):
        read(guests, "gusts")
    with pytest.raises(UnknownBatch):
        read(guests, 99)


def test_a_page_is_written_whole_over_an_older_one(guests: BatchManager, worked: int, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("older")
    subject = report_on_batch(guests, worked, Showing())

    assert write_report(file, subject).read_text(encoding="utf-8") == render(subject)
    assert [each.name for each in tmp_path.iterdir()] == ["page.html"]
    assert file.stat().st_mode & 0o777 == 0o666 & ~0o022

"""A file that is not at its end what it was at its beginning."""

from __future__ import annotations

import gzip
import os
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import fsspec
import pytest

from reliable_imports import SourceChanged, SourceError
from reliable_imports.sources import SourceOptions, open_source

pytestmark = pytest.mark.promise(1)

ROWS = b"a,b\n" + b"".join(b"%07d,x\n" % number for number in range(100_000))


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"1,y\n")


def truncate(path: Path) -> None:
    os.truncate(path, len(ROWS) - 9_000)


def rewrite(path: Path) -> None:
    path.write_bytes(ROWS.replace(b"x", b"y"))


def overwrite_a_part(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(len(ROWS) - 100)
        file.write(b"z")


@pytest.mark.parametrize("change", [append, truncate, rewrite, overwrite_a_part])
@pytest.mark.parametrize("items_before", [1, 99_990])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, change: Callable[[Path], None], items_before: int
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(ROWS)
    items = iter(open_source(path))
    for _ in range(items_before):
        next(items)
    change(path)
    with pytest.raises(SourceChanged, match="was changed while it was read"):
        list(items)


def test_a_change_is_noticed_in_the_moment_in_which_the_file_was_written(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(b"a\n1\n")
        items = iter(open_source(path))
        next(items)
        path.write_bytes(b"a\n2\n")
        with pytest.raises(SourceChanged):
            list(items)


def test_a_file_that_is_replaced_while_it_is_read_is_read_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(ROWS)
    source = open_source(path)
    items = iter(source)
    next(items)
    (tmp_path / "new").write_bytes(b"c\n1\n")
    os.replace(tmp_path / "new", path)
    assert len(list(items)) == 99_999
    assert source.size == len(ROWS)


def test_content_that_makes_no_sense_because_it_is_half_new_is_told_as_changed(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress(os.urandom(1_000_000).hex().encode().replace(b"a", b"\n")))
    items = iter(open_source(path, SourceOptions(format="jsonl")))
    next(items)
    os.truncate(path, 600_000)
    with pytest.raises(SourceChanged, match="bytes and has 600,000"):
        list(items)


def test_what_an_archive_or_a_table_is_read_from_may_not_change_either(tmp_path: Path) -> None:
    path = tmp_path / "rows.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("rows.csv", ROWS)
    items = iter(open_source(path))
    next(items)
    with path.open("r+b") as file:
        file.write(b"P")
    with pytest.raises(SourceChanged):
        list(items)


def test_a_file_that_changes_in_a_store_is_refused() -> None:
    store = fsspec.filesystem("memory")
    store.pipe("/changing/rows.csv", ROWS)
    items = iter(open_source("memory://changing/rows.csv"))
    next(items)
    store.pipe("/changing/rows.csv", ROWS.replace(b"x", b"y"))
    with pytest.raises(SourceChanged):
        list(items)


class _Changes(BaseHTTPRequestHandler):
    """Serves one content, and says of another one's question that it has changed: in the way that the path names."""

    def do_GET(self) -> None:
        self._answer()
        if "packed" not in self.path:
            self.wfile.write(ROWS)

    def do_HEAD(self) -> None:
        self._answer()

    def _answer(self) -> None:
        changed = self.command == "HEAD" and "kept" not in self.path
        if "packed" in self.path and self.command == "GET":
            packed = gzip.compress(ROWS)
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(packed)))
            self.send_header("ETag", '"1-gzip"')
            self.end_headers()
            self.wfile.write(packed)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(ROWS) + (changed and "size" in self.path)))
        if "tag" in self.path:
            self.send_header("ETag", '"2"' if changed else '"1"')
        if "time" in self.path:
            self.send_header("Last-Modified", f"Mon, 01 Jan 2024 00:00:0{int(changed)} GMT")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def web() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Changes) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("changing", ["size", "tag", "time"])
def test_a_file_that_changes_on_the_web_is_refused(web: str, changing: str) -> None:
    with pytest.raises(SourceChanged):
        list(open_source(f"{web}/{changing}.csv"))


@pytest.mark.parametrize("kept", ["kept", "kept-tag-time", "kept-tag-packed", "nothing-is-told"])
def test_a_file_that_stays_the_same_on_the_web_is_read(web: str, kept: str) -> None:
    assert len(list(open_source(f"{web}/{kept}.csv"))) == 100_000


def test_a_file_that_is_gone_when_it_has_been_read_was_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(ROWS)
    items = iter(open_source(path))
    next(items)
    path.unlink()
    assert len(list(items)) == 99_999


def test_a_fault_of_the_content_is_told_as_one_where_nothing_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'a\n"1\n')
    with pytest.raises(SourceError, match="never closed") as told:
        list(open_source(path))
    assert not isinstance(told.value, SourceChanged)

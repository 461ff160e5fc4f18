from __future__ import annotations

import gzip
import hashlib
import os
import tracemalloc
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_imports.errors import ConfigurationError, SourceError
from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources import SourceOptions, open_source
from tests.sources.files import read, refusal, unhurried, values

ROWS = b"a,b\n" + b"".join(b"%d,x\n" % number for number in range(2000))


@pytest.mark.parametrize("name", ["rows.csv", "rows.csv.gz", "ROWS.CSV.GZ"])
def test_gzip_is_told_by_its_bytes_and_not_by_the_name(tmp_path: Path, name: str) -> None:
    plain = read(tmp_path / name, ROWS)
    assert read(tmp_path / name, gzip.compress(ROWS)) == plain
    assert len(plain) == 2000


def test_gzip_members_follow_each_other_and_may_be_padded(tmp_path: Path) -> None:
    content = (
        gzip.compress(ROWS) + gzip.compress(b"") + gzip.compress(b"y,z\n") + b"\0" * 600_000 + gzip.compress(b"v,w\n")
    )
    assert values(read(tmp_path / "rows.csv", content + b"\0\0"))[1999:] == [
        {"a": "1999", "b": "x"},
        {"a": "y", "b": "z"},
        {"a": "v", "b": "w"},
    ]


@pytest.mark.parametrize("cut", [1, 8, 9, 100, 3000])
def test_gzip_that_is_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    assert "cut short" in refusal(tmp_path / "rows.csv", gzip.compress(ROWS)[:-cut]).problem


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    content = bytearray(gzip.compress(ROWS))
    content[-6] ^= 1  # the checksum
    assert "damaged" in refusal(tmp_path / "rows.csv", bytes(content)).problem
    assert "damaged" in refusal(tmp_path / "rows.csv", gzip.compress(ROWS) + b"rubbish").problem


def test_the_hash_and_size_are_those_of_the_stored_bytes(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv.gz"
    content = gzip.compress(ROWS)
    path.write_bytes(content)
    source = open_source(path)
    items = iter(source)
    next(items)
    assert (source.sha256, source.size) == (None, None)
    list(items)
    assert source.sha256 == hashlib.sha256(content).hexdigest()
    assert source.size == source.bytes_read == source.total_bytes == len(content)
    assert source.name == str(path)
    assert len(list(source)) == 2000, "a source can be read again"


def test_a_path_that_is_no_readable_file_is_refused_when_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder.csv").mkdir()
    for name, problem in [
        ("gone.csv", "no such file"),
        ("folder.csv", "folder"),
        ("pipe.csv", "no file"),
        ("a\0.csv", "NUL"),
    ]:
        with pytest.raises(SourceError, match=problem):
            open_source(tmp_path / name)


def test_an_unknown_name_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_bytes(ROWS)
    with pytest.raises(SourceError, match=r"\.csv, \.tsv, \.jsonl, \.ndjson, \.json, \.xlsx, \.xlsm, \.parquet"):
        open_source(tmp_path / "rows.txt")
    assert len(list(open_source(tmp_path / "rows.txt", SourceOptions(format="csv")))) == 2000


@pytest.mark.parametrize("encoding", ["nonsense", "hex", "rot13", "cp037", "utf-7", "unicode_escape", "a\0b"])
def test_an_encoding_that_cannot_be_read_is_refused_when_the_file_is_opened(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "rows.csv").write_bytes(ROWS)
    with pytest.raises(SourceError, match=r"unknown encoding|cannot be read; convert it"):
        open_source(tmp_path / "rows.csv", SourceOptions(encoding=encoding))


@pytest.mark.parametrize(
    "wrong",
    [
        {"delimiter": ""},
        {"delimiter": "::"},
        {"delimiter": "\n"},
        {"delimiter": '"'},
        {"quotechar": ""},
        {"max_item_bytes": 0},
        {"max_item_bytes": 2**30},
        {"format": "xml"},
        {"sheet": 0},
        {"header_row": 0},
        {"max_items": 0},
        {"max_ratio": 0},
    ],
)
def test_options_that_make_no_sense_are_refused_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        SourceOptions(**wrong)  # type: ignore[arg-type]


def test_a_few_kilobytes_of_gzip_that_hold_a_huge_line_are_refused_in_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.jsonl.gz"
    path.write_bytes(gzip.compress(b"[" + b"1," * 100_000_000, compresslevel=1))
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match="holds more than 1000000 bytes"):
            list(open_source(path, SourceOptions(max_item_bytes=1_000_000)))
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("format_", ["csv", "jsonl", "json"])
def test_ten_times_the_rows_take_no_more_memory(tmp_path: Path, format_: str) -> None:
    def peak(rows: int) -> int:
        path = tmp_path / f"{rows}.{format_}"
        text = "some text " * 10
        row = {"csv": f'1,"{text}"\n', "jsonl": f'{{"a": "{text}"}}\n', "json": f'{{"a": "{text}"}},\n'}[format_]
        head, tail = {"csv": ("a,b\n", ""), "jsonl": ("", ""), "json": ("[", "1]")}[format_]
        path.write_text(head + row * rows + tail)
        tracemalloc.start()
        try:
            for _ in open_source(path):
                pass
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(150_000) < peak(15_000) * 1.2


@unhurried
@given(content=st.binary(max_size=300), name=st.sampled_from(["x.csv", "x.tsv", "x.jsonl", "x.json"]))
def test_any_bytes_make_items_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, content: bytes, name: str) -> None:
    path = tmp_path_factory.getbasetemp() / name
    for stored in (content, b"h\n" + content, b"\x1f\x8b" + content, gzip.compress(content)):
        path.write_bytes(stored)
        source = open_source(path)
        try:
            items = list(source)
        except SourceError:
            continue
        assert source.size == len(stored)
        assert all(type(item) is SourceItem and (item.text is None) != (item.raw is None) for item in items)


def test_postgresql_reads_every_text_and_needs_raw_for_the_rest(empty_database: str, tmp_path: Path) -> None:
    strings = [
        "\\u0000",
        "\\ud800",
        "\\udc00x",
        "\\ud83d\\ude00",
        "\\\\u0000",
        "\\\\\\u0000",
        "é\u2028\ufffe",
        "\\ud83d\\u0041",
    ]
    lines = [f'{{"a": "{string}"}}' for string in strings] + [f'{{"{string}": 1, "a": 2}}' for string in strings]
    lines += ['{"a": 1e999}', '{"a": ' + "9" * 5000 + "}", '{"a": ' + "[" * 199 + "]" * 199 + "}", '{"a": -0.0e-5}']
    items = read(tmp_path / "x.jsonl", "\n".join(lines).encode())
    items += read(tmp_path / "x.csv", b'a,b\n"\\ud800",\x01\x7f\n\x00,x\n\\u0000,"\n"\n')
    assert len(items) == len(lines) + 3
    with closing(psycopg2.connect(empty_database)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        for item in items:
            assert item.problem is None
            if item.text is not None:
                cursor.execute("SELECT %s::json ->> 'a', json_typeof(%s::json)", (item.text, item.text))
                assert cursor.fetchone() is not None
            else:
                with pytest.raises(psycopg2.Error):
                    cursor.execute("SELECT %s::json ->> 'a'", ((item.raw or b"").decode(),))

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from backports import zstd

from reliable_imports.errors import SourceError
from reliable_imports.sources import SourceOptions, open_source
from tests.sources.files import read, refusal, values

ROWS = b"a,b\n" + b"".join(b"%d,x\n" % number for number in range(2000))

COMPRESSORS: list[tuple[str, Callable[[bytes], bytes]]] = [
    (".gz", gzip.compress),
    (".bz2", bz2.compress),
    (".xz", lzma.compress),
    (".zst", zstd.compress),
]


def zipped(members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return written.getvalue()


@pytest.mark.parametrize(("ending", "compress"), COMPRESSORS)
def test_compressed_text_is_told_by_its_bytes(tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]) -> None:
    plain = read(tmp_path / "plain.csv", ROWS)
    for name in (f"rows.csv{ending}", "rows.csv", f"ROWS.CSV{ending.upper()}"):
        assert read(tmp_path / name, compress(ROWS)) == plain


@pytest.mark.parametrize(("ending", "compress"), COMPRESSORS)
def test_streams_follow_each_other(tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]) -> None:
    content = compress(ROWS) + compress(b"") + compress(b"y,z\n")
    assert values(read(tmp_path / "rows.csv", content))[-1] == {"a": "y", "b": "z"}


@pytest.mark.parametrize(("ending", "compress"), COMPRESSORS)
@pytest.mark.parametrize("cut", [1, 9, 300])
def test_a_stream_that_is_cut_short_is_refused(
    tmp_path: Path, ending: str, compress: Callable[[bytes], bytes], cut: int
) -> None:
    assert "cut short" in refusal(tmp_path / "rows.csv", compress(ROWS)[:-cut]).problem


@pytest.mark.parametrize(("ending", "compress"), COMPRESSORS)
def test_a_damaged_stream_is_refused(tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]) -> None:
    stored = bytearray(
        compress(ROWS)
        if ending != ".zst"
        else zstd.compress(ROWS, options={zstd.CompressionParameter.checksum_flag: 1})
    )
    stored[len(stored) // 2] ^= 0x55
    assert "is damaged" in refusal(tmp_path / "rows.csv", bytes(stored)).problem
    assert "is damaged" in refusal(tmp_path / "rows.csv", compress(ROWS) + b"rubbish" * 9).problem


@pytest.mark.parametrize("name", ["rows.zip", "rows.csv.zip", "rows.csv"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_of_one_file_is_that_file(tmp_path: Path, name: str, compression: int) -> None:
    members = {"folder/": b"", "folder/rows.csv": ROWS, "__MACOSX/folder/._rows.csv": b"\0", ".DS_Store": b"\0"}
    assert read(tmp_path / name, zipped(members, compression)) == read(tmp_path / "plain.csv", ROWS)


def test_the_format_of_an_archive_is_that_of_the_file_in_it(tmp_path: Path) -> None:
    assert values(read(tmp_path / "rows.zip", zipped({"x.jsonl": b'{"a": 1}\n'}))) == [{"a": 1}]
    assert "the name does not say the format" in refusal(tmp_path / "rows.zip", zipped({"x.txt": ROWS})).problem
    assert len(read(tmp_path / "rows.zip", zipped({"x.txt": ROWS}), format="csv")) == 2000


@pytest.mark.parametrize(
    ("members", "problem"),
    [
        ({"a.csv": ROWS, "b.csv": ROWS}, "holds 2 files, and one was expected; unpack it"),
        ({}, "holds no file"),
        ({"a.xlsx": b"x"}, "unpack it first"),
        ({"a.zip": zipped({"a.csv": ROWS})}, "unpack it first"),
        ({"[Content_Types].xml": b"", "xl/workbook.xml": b""}, "this is an Excel workbook; name it .xlsx"),
        ({"[Content_Types].xml": b"", "word/document.xml": b""}, "this is a document"),
    ],
)
def test_other_archives_are_refused_with_what_to_do(tmp_path: Path, members: dict[str, bytes], problem: str) -> None:
    assert problem in refusal(tmp_path / "rows.zip", zipped(members)).problem


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    stored = zipped({"rows.csv": ROWS})
    assert "damaged or cut short" in refusal(tmp_path / "rows.csv.zip", stored[:-30]).problem
    altered = bytearray(stored)
    altered[2000] ^= 0x55
    assert "the zip archive is damaged" in refusal(tmp_path / "rows.csv.zip", bytes(altered)).problem
    locked = bytearray(stored)
    locked[stored.index(b"PK\1\2") + 8] |= 1
    assert "has a password" in refusal(tmp_path / "rows.csv.zip", bytes(locked)).problem


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("rows.xls", r"save it as \.xlsx or \.csv"),
        ("rows.ods", r"save it as \.xlsx or \.csv"),
        ("rows.tar.gz", "unpack it"),
        ("rows.7z", "unpack it"),
        ("rows.avro", r"export it as \.csv, \.jsonl or \.parquet"),
        ("rows.xlsx.gz", "unpack it first"),
        ("rows.parquet.zip", "unpack it first"),
    ],
)
def test_a_name_that_says_what_is_not_read_is_refused_with_what_to_do(tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(SourceError, match=remedy) as told:
        open_source(tmp_path / name)
    assert "name it" not in told.value.problem


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0", "workbook of the old kind"),
        (b"PAR1\x15\4\x15", "this is a Parquet file; name it .parquet"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "unpack it"),
        (b"%PDF-1.7\n", "PDF"),
    ],
)
def test_content_that_is_no_text_is_refused_whatever_its_name(tmp_path: Path, content: bytes, problem: str) -> None:
    assert problem in refusal(tmp_path / "rows.csv", content).problem
    assert problem in refusal(tmp_path / "rows.jsonl", content).problem


@pytest.mark.parametrize("header", [b"PAR1,PAR2", b"BZh,x", b"PK,x", b"Obj,x", b"ORC id,x"])
def test_a_header_that_begins_like_another_format_is_a_header(tmp_path: Path, header: bytes) -> None:
    assert len(read(tmp_path / "rows.csv", header + b"\n1,2\n")) == 1


@pytest.mark.parametrize(("ending", "compress"), [*COMPRESSORS, (".zip", lambda content: zipped({"x.csv": content}))])
def test_a_small_file_that_becomes_far_too_large_is_refused_early(
    tmp_path: Path, ending: str, compress: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / f"bomb.csv{ending}"
    path.write_bytes(compress(b"a\n" + b"x" * 1000 + b"\n" + (b"y" * 99 + b"\n") * 250_000))
    source = open_source(path)
    tracemalloc.start()
    try:
        with pytest.raises(SourceError, match=r"more than 250 times as much.*raise SourceOptions\.max_ratio"):
            for _ in source:
                pass
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()
    assert sum(1 for _ in open_source(path, SourceOptions(max_ratio=10_000_000))) == 250_001


def test_what_may_come_from_a_compressed_file_has_a_limit(tmp_path: Path) -> None:
    stored = gzip.compress(ROWS)
    assert len(read(tmp_path / "rows.csv", stored, max_content_bytes=len(ROWS))) == 2000
    problem = refusal(tmp_path / "rows.csv", stored, max_content_bytes=len(ROWS) - 1).problem
    assert problem.endswith("raise SourceOptions.max_content_bytes")
    assert len(read(tmp_path / "rows.csv", ROWS, max_content_bytes=1)) == 2000, "a plain file is as large as it is"


def test_xz_that_asks_for_too_much_memory_is_refused(tmp_path: Path) -> None:
    # The encoder would take ten times the memory, so the size in the header is altered, and its checksum with it.
    stored = bytearray(lzma.compress(ROWS, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": 4096}]))
    place = stored.index(b"\x21\x01\x00", 12) + 2
    stored[place] = 36  # a gigabyte
    header = slice(12, 12 + (stored[12] + 1) * 4)
    stored[header.stop - 4 : header.stop] = zlib.crc32(stored[header.start : header.stop - 4]).to_bytes(4, "little")
    assert "asks for more than 268,435,456 bytes of memory" in refusal(tmp_path / "rows.csv.xz", bytes(stored)).problem


def test_an_object_with_too_many_fields_fails_and_its_neighbours_do_not(tmp_path: Path) -> None:
    many = b'{"a": {"x": 1, "y": 2, "z": 3}}'
    items = read(tmp_path / "rows.jsonl", b'{"a": 1}\n' + many + b"\n[1, 2, 3]\n", max_fields=2)
    assert [item.kind for item in items] == [None, "too-many-fields", None]
    items = read(tmp_path / "rows.json", b"[1," + many + b",2]", max_fields=2)
    assert [(item.kind, item.raw) for item in items] == [(None, None), ("too-many-fields", many), (None, None)]


def test_a_header_with_too_many_columns_is_refused(tmp_path: Path) -> None:
    assert len(read(tmp_path / "rows.csv", b"a,b\n1,2\n", max_fields=2)) == 1
    assert (
        "names 3 columns, and 2 are the most" in refusal(tmp_path / "rows.csv", b"a,b,c\n1,2,3\n", max_fields=2).problem
    )

from __future__ import annotations

import json
import threading
import tracemalloc
from datetime import date, datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reliable_imports.errors import SourceError
from reliable_imports.sources import SourceOptions, open_source


def items_of(path: Path, **columns: Any) -> list[str]:
    """The texts of the items of a file with these columns."""
    pq.write_table(pa.table(columns), path)
    items = list(open_source(path))
    assert all(item.problem is None for item in items), items
    return [item.text or "" for item in items]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.parquet"


CASES: list[tuple[str, Any, list[str]]] = [
    (
        "int64",
        pa.array([2**63 - 1, -(2**63), 2**53 + 1]),
        ["9223372036854775807", "-9223372036854775808", "9007199254740993"],
    ),
    ("uint64", pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
    ("bool", pa.array([True, None]), ["true", "null"]),
    ("float", pa.array([0.1, -0.0, 1e300]), ["0.1", "-0.0", "1e300"]),
    ("decimal", pa.array([Decimal("1.10"), Decimal("-0.00")], pa.decimal128(38, 2)), ["1.10", "0.00"]),
    ("wide decimal", pa.array([Decimal(10**60)], pa.decimal256(70, 5)), [f"{10**60}.00000"]),
    ("text", pa.array(["", "é\n\t\\", None]), ['""', '"é\\n\\t\\\\"', "null"]),
    ("large text", pa.array(["x"], pa.large_string()), ['"x"']),
    ("dictionary", pa.array(["x", None, "x"]).dictionary_encode(), ['"x"', "null", '"x"']),
    ("binary", pa.array([b"\0\xff", b""]), ['"\\\\x00ff"', '"\\\\x"']),
    ("fixed binary", pa.array([b"ab"], pa.binary(2)), ['"\\\\x6162"']),
    ("uuid", pa.array([UUID(int=5).bytes], pa.uuid()), ['"00000000-0000-0000-0000-000000000005"']),
    (
        "date",
        pa.array([date(2024, 2, 29), date(1, 1, 1), date(9999, 12, 31)]),
        ['"2024-02-29"', '"0001-01-01"', '"9999-12-31"'],
    ),
    ("time", pa.array([1, 86_399_999_999_999], pa.time64("ns")), ['"00:00:00.000000001"', '"23:59:59.999999999"']),
    ("short time", pa.array([1500], pa.time32("ms")), ['"00:00:01.500"']),
    (
        "timestamp",
        pa.array([datetime(1969, 12, 31, 23, 59, 59, 1), datetime(2024, 2, 29)], pa.timestamp("us")),
        ['"1969-12-31T23:59:59.000001"', '"2024-02-29T00:00:00"'],
    ),
    ("nanoseconds", pa.array([1], pa.timestamp("ns")), ['"1970-01-01T00:00:00.000000001"']),
    ("instant", pa.array([1_700_000_000_123], pa.timestamp("ms", "UTC")), ['"2023-11-14T22:13:20.123+00:00"']),
    (
        "zone",
        pa.array([1_700_000_000_000_000_123], pa.timestamp("ns", "Europe/Berlin")),
        ['"2023-11-14T23:13:20.000000123+01:00"'],
    ),
    ("duration", pa.array([1_500, -1], pa.duration("ms")), ['"PT1.500S"', '"-PT0.001S"']),
    ("list", pa.array([[1, None], None, []]), ["[1,null]", "null", "[]"]),
    ("fixed list", pa.array([[1, 2], None], pa.list_(pa.int32(), 2)), ["[1,2]", "null"]),
    (
        "lists of moments",
        pa.array([[1]], pa.list_(pa.timestamp("ns", "UTC"))),
        ['["1970-01-01T00:00:00.000000001+00:00"]'],
    ),
    (
        "structs",
        pa.array([{"x": 1, "y": [{"z": Decimal("1.50")}, None]}, None]),
        ['{"x":1,"y":[{"z":1.50},null]}', "null"],
    ),
    (
        "map",
        pa.array([[("k", 1), ("l", None)], None, []], pa.map_(pa.string(), pa.int64())),
        ['{"k":1,"l":null}', "null", "{}"],
    ),
    ("map of numbers", pa.array([[(1, "v")]], pa.map_(pa.int64(), pa.string())), ['[{"key":1,"value":"v"}]']),
    (
        "repeated key",
        pa.array([[("k", 1), ("k", 2)]], pa.map_(pa.string(), pa.int64())),
        ['[{"key":"k","value":1},{"key":"k","value":2}]'],
    ),
    ("nulls", pa.nulls(2), ["null", "null"]),
]


@pytest.mark.parametrize(("column", "texts"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_values_keep_their_types_exactly(path: Path, column: Any, texts: list[str]) -> None:
    assert items_of(path, a=column) == [f'{{"a":{text}}}' for text in texts]


@pytest.mark.parametrize("column", [case[1] for case in CASES], ids=[case[0] for case in CASES])
def test_a_part_of_a_longer_column_is_read_as_the_whole(path: Path, column: Any) -> None:
    """Rows come in portions, each a view on a part of what was decoded."""
    times = 1500 // len(column) + 1
    one = items_of(path, a=column)
    pq.write_table(pa.table({"a": pa.chunked_array([column] * times)}), path)
    assert [item.text for item in open_source(path)] == one * times


def test_a_row_that_json_cannot_hold_fails_alone(path: Path) -> None:
    table = pa.table({"a": [0.5, float("inf"), 1.5], "b": pa.array([1, 2, 2**40], pa.timestamp("s"))})
    pq.write_table(table, path)
    items = list(open_source(path))
    assert [item.problem for item in items] == [
        None,
        "$.a: Infinity is not JSON",
        "$.b: a value of type _BeyondCalendar is not JSON",
    ]


def test_numbers_that_are_none_are_stored_as_null_and_told(path: Path) -> None:
    table = pa.table({"a": [0.5, float("nan"), None], "b": [float("nan")] * 3, "c": [1, 2, None], "d": [0.1] * 3})
    pq.write_table(table, path)
    source = open_source(path)
    assert [item.text for item in source][1:] == [
        '{"a":null,"b":null,"c":2,"d":0.1}',
        '{"a":null,"b":null,"c":null,"d":0.1}',
    ]
    assert source.findings.warnings == ['NaN, for which JSON has no number, is stored as null: "a" (1), "b" (3)']


def test_text_that_is_no_utf_8_fails_its_row_alone(path: Path) -> None:
    wrong = pa.Array.from_buffers(pa.string(), 2, pa.array([b"good", b"\xff\xfe"], pa.binary()).buffers())
    pq.write_table(pa.table({"a": wrong}), path)
    items = list(open_source(path))
    assert items[0].text == '{"a":"good"}'
    assert items[1].problem == "$.a: a value of type bytes is not JSON"


def test_columns_with_one_name_are_refused(path: Path) -> None:
    pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
    with pytest.raises(SourceError, match='a column is there twice: "a"'):
        list(open_source(path))


def test_limits_hold(path: Path) -> None:
    pq.write_table(pa.table({"a": ["x" * 1000], "b": [1]}), path)
    for options, problem in (
        ({"max_fields": 1}, "2 columns, and 1 are the most"),
        ({"max_item_bytes": 900}, "row 1 holds 1\\d+ bytes of JSON, and the limit is 900"),
        ({"max_content_bytes": 10}, "holds more than 10 bytes when decompressed"),
    ):
        with pytest.raises(SourceError, match=problem):
            list(open_source(path, SourceOptions(**options)))


def test_many_rows_of_one_value_are_refused_before_they_are_made(path: Path) -> None:
    pq.write_table(
        pa.table({"a": pa.DictionaryArray.from_arrays(pa.nulls(5_000_000, pa.int32()).fill_null(0), ["x"])}), path
    )
    assert path.stat().st_size < 20_000
    with pytest.raises(SourceError, match="more than 250 times as much"):
        next(iter(open_source(path)))


def test_many_values_in_one_row_are_refused_before_they_are_made(path: Path) -> None:
    values = pa.nulls(5_000_000, pa.int64()).fill_null(7)
    pq.write_table(pa.table({"a": pa.ListArray.from_arrays([0, 5_000_000], values)}), path)
    assert path.stat().st_size < 20_000
    with pytest.raises(SourceError, match="more than 250 times as much"):
        next(iter(open_source(path)))


def test_a_large_value_that_rows_share_is_in_memory_once(path: Path) -> None:
    large = "x" * 10_000_000
    pq.write_table(pa.table({"a": pa.DictionaryArray.from_arrays(pa.array([0] * 1000, pa.int32()), [large])}), path)
    before = pa.total_allocated_bytes()
    items = iter(open_source(path, SourceOptions(max_ratio=10**6)))
    for _ in range(5):
        assert next(items).text == json.dumps({"a": large}, separators=(",", ":"))
    assert pa.total_allocated_bytes() - before < 100_000_000


def test_large_values_in_lists_are_in_memory_once(path: Path) -> None:
    large = "x" * 1_000_000
    shared = pa.DictionaryArray.from_arrays(pa.array([0] * 5000, pa.int32()), [large])
    pq.write_table(pa.table({"a": pa.ListArray.from_arrays(list(range(0, 5001, 5)), shared)}), path)
    before = pa.total_allocated_bytes()
    items = iter(open_source(path, SourceOptions(max_ratio=10**6)))
    for _ in range(5):
        assert next(items).text == json.dumps({"a": [large] * 5}, separators=(",", ":"))
    assert pa.total_allocated_bytes() - before < 100_000_000


def test_ten_times_the_rows_take_no_more_memory(tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        path = tmp_path / f"{rows}.parquet"
        schema = pa.schema([("a", pa.int64()), ("b", pa.string())])
        with pq.ParquetWriter(path, schema) as writer:
            for start in range(0, rows, 5000):
                numbers = list(range(start, start + 5000))
                texts = [f"some text {number}" * 3 for number in numbers]
                writer.write_table(pa.table({"a": numbers, "b": texts}, schema))
        tracemalloc.start()
        highest = 0
        try:
            for number, _ in enumerate(open_source(path)):
                if number % 1000 == 500:
                    highest = max(highest, pa.total_allocated_bytes())
            return highest + tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak(150_000) < peak(15_000) * 1.3


def test_one_large_row_group_is_read_in_parts(path: Path) -> None:
    texts = [f"{number:030}" * 10 for number in range(200_000)]
    pq.write_table(pa.table({"a": texts}), path, row_group_size=200_000, use_dictionary=False, compression="none")
    del texts
    assert path.stat().st_size > 60_000_000
    before = pa.total_allocated_bytes()
    highest = 0
    for number, _ in enumerate(open_source(path)):
        if number % 1000 == 500:
            highest = max(highest, pa.total_allocated_bytes() - before)
    assert highest < 20_000_000


@pytest.mark.parametrize("content", [b"", b"PAR1", b"a,b\n1,2\n", b"PAR1" + b"x" * 100 + b"PAR1"])
def test_what_is_no_parquet_file_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SourceError, match="no Parquet file, or it is damaged"):
        list(open_source(path))


def test_a_damaged_file_is_refused(path: Path) -> None:
    pq.write_table(pa.table({"a": [f"text {number}" for number in range(500)]}), path)
    stored = path.read_bytes()
    for place in range(4, len(stored), 41):
        altered = bytearray(stored)
        altered[place] ^= 0x55
        path.write_bytes(bytes(altered))
        try:
            items = list(open_source(path))
        except SourceError:
            continue
        assert len(items) == 500


def test_a_file_without_rows_is_empty_and_one_without_columns_is_refused(path: Path) -> None:
    pq.write_table(pa.table({"a": pa.array([], pa.int64())}), path)
    assert list(open_source(path)) == []
    pq.write_table(pa.table({}), path)
    with pytest.raises(SourceError, match="no columns"):
        list(open_source(path))


def test_a_table_of_the_web_is_copied_first(path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), path)
    stored = path.read_bytes()

    class Serves(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(stored)))
            self.end_headers()
            self.wfile.write(stored)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Serves) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        source = open_source(f"http://127.0.0.1:{server.server_port}/rows.parquet")
        assert [item.text for item in source] == ['{"a":1}', '{"a":2}']
        assert source.size == len(stored)
        server.shutdown()
        thread.join()

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_imports.errors import SourceError
from reliable_imports.sources import SourceOptions, open_source
from tests.sources.files import problems, read, refusal, unhurried, value, values

pytestmark = pytest.mark.promise(1)

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


def test_an_item_is_its_lines_own_text(path: Path) -> None:
    content = b'\xef\xbb\xbf {"a": 1e2,"b":-0.0} \r\n\n \t\n[1.10, 123456789012345678901234567890]\n"x"'
    items = read(path, content)
    assert [item.text for item in items] == ['{"a": 1e2,"b":-0.0}', "[1.10, 123456789012345678901234567890]", '"x"']
    assert [(item.line, item.offset) for item in items] == [
        (1, 3),
        (4, content.index(b"[")),
        (5, content.index(b'"x"')),
    ]


def test_only_a_line_feed_ends_a_line(path: Path) -> None:
    text = '{"a":"x\u2028y\u0085z"}'
    (item,) = read(path, (text + "\n").encode())
    assert item.text == text


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        (b'{"a":1', "bad-json"),
        (b'{"a":NaN}', "bad-json"),
        (b"-Infinity", "bad-json"),
        (b'{"a":1} {"b":2', "bad-json"),
        (b'{"a":1},{"b":2}', "bad-json"),
        (b'{"a":1} 2', "bad-json"),
        (b"{'a':1}", "bad-json"),
        (b'{"a":01}', "bad-json"),
        (b'{"a":"x\ty"}', "bad-json"),
        (b'\xc2\xa0{"a":1}', "bad-json"),
        (b'{"a":"caf\xe9"}', "bad-encoding"),
        (b'{"a":"\xed\xa0\x80"}', "bad-encoding"),
        (b'{"a":1,"b":{"x":1,"x":1}}', "repeated-key"),
        (b'{"a":1,"\\u0061":2}', "repeated-key"),
        (b"[" * 100_000, "too-deep"),
        (b"[" * 201 + b"]" * 201, "too-deep"),
    ],
)
def test_an_unreadable_line_is_a_failed_item_with_its_bytes(path: Path, line: bytes, kind: str) -> None:
    items = read(path, b'{"n":1}\n  ' + line + b' \r\n{"n":2}\n')
    assert problems(items) == [(kind, b"  " + line + b" ")]
    assert (items[1].line, items[1].offset) == (2, 8)
    assert values([items[0], items[2]]) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize("line", ["[" * 200 + "]" * 200, '{"a":1e999}', "9" * 5000, '{"":[]}', "null"])
def test_unusual_json_is_json(path: Path, line: str) -> None:
    (item,) = read(path, line.encode())
    assert item.text == line


@pytest.mark.parametrize(
    "escape", ["\\u0000", "\\ud800", "\\uDFFF", "\\ud83dx", "\\ud83d\\ud83d\\ude00", "\\\\\\u0000"]
)
def test_what_the_servers_operators_refuse_is_kept_raw_and_is_no_problem(path: Path, escape: str) -> None:
    text = f'{{"a":"{escape}"}}'
    (item,) = read(path, text.encode("utf-16"), encoding="utf-16")
    assert (item.text, item.raw, item.problem) == (None, text.encode(), None)


@pytest.mark.parametrize("escape", ["\\\\u0000", "\\ud83d\\ude00", "\\\\ud800", "\\uD83D\\uDE00"])
def test_what_only_looks_like_such_an_escape_is_text(path: Path, escape: str) -> None:
    (item,) = read(path, f'["{escape}"]'.encode())
    assert item.text == f'["{escape}"]'


def test_a_line_over_the_limit_is_told_without_reading_all_of_it(path: Path) -> None:
    path.write_bytes(b'{"a":1}\n"' + b"x" * 5_000_000)
    source = open_source(path, SourceOptions(max_item_bytes=10_000))
    with pytest.raises(SourceError, match="line 2, byte 8: the line holds more than 10000 bytes"):
        list(source)
    assert source.bytes_read < 1_000_000


def test_a_binary_file_is_refused_and_a_file_of_bad_lines_is_not(path: Path) -> None:
    assert "looks binary" in str(refusal(path, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 40))
    assert "looks binary" in str(refusal(path, '{"a":1}\n'.encode("utf-16-le") * 30))
    assert len(problems(read(path, b"no json\n" * 30))) == 30
    assert len(problems(read(path, b'{"a":"\xe9"}\n' * 30))) == 30


def test_an_empty_file_is_an_empty_source(path: Path) -> None:
    assert read(path, b"") == []
    assert read(path, b"\n \n") == []


@unhurried
@given(st.lists(JSON_VALUES, max_size=5), st.booleans(), st.sampled_from(["utf-8", "utf-16", "utf-32-be"]))
def test_json_values_come_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, given_values: list[Any], ascii_only: bool, encoding: str
) -> None:
    lines = [json.dumps(given_value, ensure_ascii=ascii_only) for given_value in given_values]
    path = tmp_path_factory.getbasetemp() / "given.jsonl"
    items = read(path, "\n".join(lines).encode(encoding), encoding=encoding)
    assert [item.text or (item.raw or b"").decode() for item in items] == lines
    assert values(items) == given_values


@unhurried
@given(st.lists(st.binary(max_size=20) | st.sampled_from([b'{"a":1}', b"\n", b"\r", b" ", b"[", b"]"]), max_size=40))
def test_every_byte_of_every_line_is_in_an_item_or_the_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    content = b"1\n" + b"".join(pieces)
    items = read(tmp_path_factory.getbasetemp() / "pieces.jsonl", content)
    lines = [line for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n") if line.strip(b" \t\r")]
    expected = [value for line in lines for value in _values_of_line(line)]
    assert len(items) == len(expected)
    for item, line in zip(items, expected, strict=True):
        if item.problem is not None:
            assert item.raw == line.removesuffix(b"\r")
        else:
            assert value(item) == json.loads(line)
        assert item.offset is not None
        assert content[item.offset :].startswith(line)


def _values_of_line(line: bytes) -> list[bytes]:
    """The objects and arrays that follow each other in a line, if that is all there is; else the line."""
    try:
        text = line.decode().strip(" \t\r")
    except UnicodeDecodeError:
        return [line]
    found = []
    while text:
        try:
            value, end = json.JSONDecoder(parse_constant=int).raw_decode(text)
        except (ValueError, RecursionError):
            return [line]
        if not isinstance(value, dict | list):
            return [line]
        found.append(text[:end].encode())
        text = text[end:].lstrip(" \t\r")
    return found if len(found) > 1 else [line]


def test_values_that_follow_each_other_within_a_line_are_an_item_each(path: Path) -> None:
    content = '{"a":1}\n {"é":2}  {"b":1,"b":2}["\\u0000"]\n'.encode("utf-16")
    items = read(path, content, encoding="utf-16")
    assert values([items[0], items[1], items[3]]) == [{"a": 1}, {"é": 2}, ["\0"]]
    assert problems(items) == [("repeated-key", '{"b":1,"b":2}'.encode("utf-16-le"))]
    assert [item.line for item in items] == [1, 2, 2, 2]
    for item, text in zip(items, ['{"a"', '{"é"', '{"b"', '["'], strict=True):
        assert content[item.offset or 0 :].startswith(text.encode("utf-16-le"))


@pytest.mark.parametrize("indent", [0, 2])
def test_a_file_of_values_over_several_lines_is_read_value_by_value(path: Path, indent: int) -> None:
    given_values = [{"id": 1, "tags": ["x", {"y": []}]}, {"id": 2}, [3]]
    texts = [json.dumps(each, indent=indent) for each in given_values]
    content = "\n".join(["", *texts, ""])
    items = read(path, content.encode())
    assert [item.text for item in items] == texts
    assert content[items[1].offset or 0 :].startswith(texts[1])


def test_a_first_value_longer_than_the_first_bytes_that_are_read_is_seen_to_take_several_lines(path: Path) -> None:
    given_values = [{"texts": ["x" * 1000] * 1000}, {"id": 2}]
    assert values(read(path, "\n".join(json.dumps(each, indent=1) for each in given_values).encode())) == given_values


def test_an_array_over_several_lines_has_its_elements_as_items(path: Path) -> None:
    assert values(read(path, b'[\n{"id": 1},\n{"id": 2}\n]\n')) == [{"id": 1}, {"id": 2}]


def test_a_broken_first_line_is_a_failed_item_as_any_other(path: Path) -> None:
    for broken in (b'{"a":1', b'{"a":[', b"{", b'{"a":"x', b'{"a":1}}'):
        items = read(path, broken + b'\n{"n":1}\n{"n":2}\n')
        assert problems(items) == [("bad-json", broken)]
        assert values(items[1:]) == [{"n": 1}, {"n": 2}]


def test_a_file_of_values_over_several_lines_that_is_cut_short_is_refused(path: Path) -> None:
    error = refusal(path, b'{\n"a": 1\n}\n{\n"a": 2')
    assert ("cut short" in error.problem, error.offset) == (True, 19)

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_imports.errors import SourceError
from reliable_imports.source_item import SourceItem
from reliable_imports.sources import SourceOptions, open_source
from reliable_imports.sources.content import open_content
from reliable_imports.sources.json_array import read_json_array
from tests.sources.files import problems, read, refusal, unhurried, values
from tests.sources.test_json_lines import JSON_VALUES


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.json"


def test_elements_keep_their_text(path: Path) -> None:
    content = b'\xef\xbb\xbf [ {"a": 1e2,\n "b":-0.0} , "\xc3\xa9", 0.100000000000000000000000000001\n,1E400]\n '
    items = read(path, content)
    texts = ['{"a": 1e2,\n "b":-0.0}', '"é"', "0.100000000000000000000000000001", "1E400"]
    assert [item.text for item in items] == texts
    for item, text in zip(items, texts, strict=True):
        assert item.line is None
        assert item.offset is not None
        assert content[item.offset :].startswith(text.encode())


def test_an_empty_array_is_an_empty_source(path: Path) -> None:
    assert read(path, b" [ ] ") == []


def test_an_element_with_a_repeated_key_fails_alone(path: Path) -> None:
    items = read(path, '[1,{"é":1,"é":2},2]'.encode("cp1252"), encoding="cp1252")
    assert problems(items) == [("repeated-key", '{"é":1,"é":2}'.encode("cp1252"))]
    assert values([items[0], items[2]]) == [1, 2]


def test_what_the_servers_operators_refuse_is_kept_raw(path: Path) -> None:
    items = read(path, b'["\\u0000", "ok"]')
    assert [(item.text, item.raw) for item in items] == [(None, b'"\\u0000"'), ('"ok"', None)]


@pytest.mark.parametrize(
    ("content", "offset", "problem"),
    [
        (b"", 0, "empty"),
        (b"  ", 2, "empty"),
        (b'{"a":1}', 0, "this is an object, not an array"),
        (b'{"a":1}\n{"a":2}\n', 0, "name it .jsonl"),
        (b'"x"', 0, "this is a string"),
        (b"12", 0, "this is a number"),
        (b"hello", 0, "no JSON"),
        (b"\x00\x01", 0, "no JSON"),
        (b"[1, 2", 5, "cut short"),
        (b"[1, 2,", 6, "cut short"),
        (b"[", 1, "cut short"),
        (b'[1, {"a":', 9, "cut short"),
        (b'[1, {"a":"x', 9, "unterminated string"),
        (b"[1 2]", 3, "expected"),
        (b"[1,]", 3, "expecting value"),
        (b"[1]]", 3, "after the end"),
        (b'[1, {"a":"NaN","b":NaN}]', 19, "NaN is not JSON"),
        (b"[1, -Infinity]", 4, "-Infinity is not JSON"),
        (b'["\xc3\xa9", tru, 1]', 7, "expecting value"),
        (b'["\xc3\xa9", "\xe9"]', 8, "cannot be decoded as utf-8"),
        (b"[" * 100_000, 1, "levels deep"),
    ],
)
def test_a_broken_array_is_refused_at_its_byte(path: Path, content: bytes, offset: int, problem: str) -> None:
    error = refusal(path, content)
    assert problem in error.problem
    assert error.offset == offset


def test_an_element_over_the_limit_is_told_without_reading_all_of_it(path: Path) -> None:
    path.write_bytes(b'[1, ["' + b"x" * 5_000_000 + b'"]]')
    source = open_source(path, SourceOptions(max_item_bytes=10_000))
    with pytest.raises(SourceError, match="byte 4: an element does not end within 10000 bytes"):
        list(source)
    assert source.bytes_read < 1_000_000
    assert "limit" in refusal(path, b'[1, "123456"]', max_item_bytes=5).problem
    assert len(read(path, b'[1, "123"]', max_item_bytes=5)) == 2


def test_an_element_of_some_megabytes_is_read(path: Path) -> None:
    element = json.dumps({"a": ["é" * 1000] * 3000}, ensure_ascii=False)
    items = read(path, f"[{element},\n{element}]".encode())
    assert [item.text for item in items] == [element, element]


@unhurried
@given(st.lists(JSON_VALUES, max_size=6), st.integers(1, 9), st.booleans(), st.sampled_from(["utf-8", "utf-16"]))
def test_elements_come_back_exactly_wherever_blocks_end(
    elements: list[Any], block_size: int, ascii_only: bool, encoding: str
) -> None:
    texts = [json.dumps(element, ensure_ascii=ascii_only, indent=1) for element in elements]
    content = f"[{' , '.join(texts)}]".encode(encoding)
    blocks = (content[start : start + block_size] for start in range(0, len(content), block_size))
    items = list(read_json_array(open_content("given", blocks, encoding), limit=10_000))
    assert [item.text or (item.raw or b"").decode() for item in items] == texts
    if encoding == "utf-8":
        assert all(
            content[item.offset or 0 :].startswith(text.encode()) for item, text in zip(items, texts, strict=True)
        )


@unhurried
@given(st.lists(st.sampled_from([*'[]{},:"\\ 1.-eE+x\n', "true", "NaN", "\\u", "d8", '"a":', "null"]), max_size=30))
def test_the_border_of_blocks_never_changes_what_is_read(pieces: list[str]) -> None:
    content = "".join(["[", *pieces]).encode()
    outcomes: list[list[SourceItem] | None] = []
    for size in (1, 2, 3, 7, 1000):
        blocks = (content[start : start + size] for start in range(0, len(content), size))
        try:
            outcomes.append(list(read_json_array(open_content("given", blocks, "utf-8"), limit=10_000)))
        except SourceError:
            outcomes.append(None)
    assert all(outcome == outcomes[-1] for outcome in outcomes)
    try:
        elements = json.loads(content, parse_constant=int)  # int("NaN") is a ValueError
    except ValueError:
        elements = None
    assert (None if outcomes[-1] is None else len(outcomes[-1])) == (None if elements is None else len(elements))

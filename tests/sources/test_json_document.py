from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_imports.errors import SourceError
from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources import SourceOptions, open_source
from reliable_imports.sources.text.content import open_content
from reliable_imports.sources.text.json_document import read_json_document
from tests.sources.files import problems, read, refusal, unhurried, values
from tests.sources.test_json_lines import JSON_VALUES

pytestmark = pytest.mark.promise(1)


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
        (b'{"a":1}', 0, "this is an object without an array of objects in it; if it is one item"),
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
    items = list(read_json_document(open_content("given", blocks, encoding), SourceOptions(max_item_bytes=10_000)))
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
            outcomes.append(
                list(read_json_document(open_content("given", blocks, "utf-8"), SourceOptions(max_item_bytes=10_000)))
            )
        except SourceError:
            outcomes.append(None)
    assert all(outcome == outcomes[-1] for outcome in outcomes)
    try:
        elements = json.loads(content, parse_constant=int)  # int("NaN") is a ValueError
    except ValueError:
        elements = None
    assert (None if outcomes[-1] is None else len(outcomes[-1])) == (None if elements is None else len(elements))


@pytest.mark.parametrize(
    "content",
    [
        '{"total": 2, "data": [{"a": 1e2}, {"b":-0.0}], "next": null}',
        '\ufeff{"data": [{"a": 1e2} , {"b":-0.0}]}\n',
        '{"errors": [], "ids": [1, 2, [3]], "meta": {"rows": [{}]}, "data": [{"a": 1e2},{"b":-0.0}], "links": ["x"]}',
    ],
)
def test_the_one_array_of_objects_in_an_envelope_is_found(path: Path, content: str) -> None:
    items = read(path, content.encode())
    assert [item.text for item in items] == ['{"a": 1e2}', '{"b":-0.0}']
    assert content.encode()[items[1].offset or 0 :].startswith(b'{"b"')


def test_an_envelope_with_an_empty_array_is_an_empty_source(path: Path) -> None:
    assert read(path, b'{"total": 0, "data": []}') == []


def test_an_envelope_in_which_the_items_are_not_plain_is_refused_and_names_the_choices(path: Path) -> None:
    several = refusal(path, b'{"data":[{"a":1}],"included":[{"b":2}]}')
    assert (
        "several arrays of objects, '/data', '/included'; choose one by SourceOptions(pointer=...)" in several.problem
    )
    deeper = refusal(path, b'{"response":{"page":1,"rows/all":[{"a":1}]},"more":{"x":{"y":[{}]}}}')
    assert "pointer=...): '/response/rows~1all', '/more/x/y'" in deeper.problem
    assert "set SourceOptions(format='jsonl')" in refusal(path, b'{"error": "no such page", "ids": [1]}').problem


@pytest.mark.parametrize(
    ("content", "offset", "problem"),
    [
        (b'{"data": [{"a":1}', 17, "cut short"),
        (b'{"data": [{"a":1}]', 18, "cut short"),
        (b'{"data"', 7, "cut short"),
        (b'{"data" [{}]}', 8, "':' expected"),
        (b'{"data": [{}],}', 14, "a name in quotes expected"),
        (b'{"data": [{}] "x": 1}', 14, "',' or '}' expected"),
        (b'{"data": [{"a":NaN}]}', 15, "NaN is not JSON"),
        (b'{"data": [{}]}]', 14, "after the end"),
        (b'{"a":1}{"a":2}{"a":', 19, "cut short"),
        (b'{"a":1}{"a":2}x', 14, "expecting value"),
    ],
)
def test_a_broken_envelope_is_refused_at_its_byte(path: Path, content: bytes, offset: int, problem: str) -> None:
    error = refusal(path, content)
    assert problem in error.problem
    assert error.offset == offset


def test_objects_one_after_another_are_items(path: Path) -> None:
    texts = ['{"a": 1e2}', '{\n  "b": [{"c": 1}]\n}', '{"d":{}}']
    items = read(path, "".join([texts[0], texts[1], " \n", texts[2]]).encode())
    assert [item.text for item in items] == texts
    assert [item.text for item in read(path, b'{"data":[{"a":1}]}\n{"data":[{"a":2}]}')] == [
        '{"data":[{"a":1}]}',
        '{"data":[{"a":2}]}',
    ], "two documents are two items, not one envelope"


@pytest.mark.parametrize(
    ("pointer", "content"),
    [
        ("/a/b", '{"x":{"b":[{"n":9}]},"a":{"c":[9,{"d":[]}],"b":[1,{"n":2}],"e":0},"z":"y"}'),
        ("/1", '[[9],[1,{"n":2}],{"a":[9]}]'),
        ("/a~1b/~0/0", '{"a/b":{"~":[[1,{"n":2}]]}}'),
        ("/", '{"":[1,{"n":2}]}'),
        ("", '[1,{"n":2}]'),
        ("/data", '{"data":[1,{"n":2}],"included":[{}]}'),
    ],
)
def test_a_pointer_says_where_the_array_stands(path: Path, pointer: str, content: str) -> None:
    assert values(read(path, content.encode(), pointer=pointer)) == [1, {"n": 2}]


@pytest.mark.parametrize("pointer", [None, "/by/id"])
def test_members_of_an_object_are_items_with_their_names(path: Path, pointer: str | None) -> None:
    members = '{"a": {"n": 1e2}, "\\u00fc \\"x\\"": { }, "c": [1], "d":7, "e": {"key": 1}, "a": {"n":\n2}}'
    content = members if pointer is None else f'{{"at": 1, "by": {{"id": {members}}}}}'
    items = read(path, content.encode(), pointer=pointer, member_name="key")

    assert [item.text for item in items] == [
        '{"key": "a", "n": 1e2}',
        '{"key": "\u00fc \\"x\\"" }',
        '{"key": "c", "value": [1]}',
        '{"key": "d", "value": 7}',
        None,
        '{"key": "a", "n":\n2}',
    ]
    assert (items[4].kind, items[4].raw) == ("repeated-key", b'{"key": "e", "key": 1}')
    assert [content.encode()[item.offset or 0 :][:1] for item in items] == [b"{", b"{", b"[", b"7", b"{", b"{"]


def test_no_object_where_its_members_are_wanted_is_refused(path: Path) -> None:
    assert "this is an array; the items of member_name are" in refusal(path, b"[{}]", member_name="key").problem
    assert "what stands at '/a' is a number" in refusal(path, b'{"a": 1}', pointer="/a", member_name="key").problem
    hint = refusal(path, b'{"a": {"n": 1}}').problem
    assert "name the file .jsonl" in hint
    assert "SourceOptions(member_name='key')" in hint
    assert "jq -c 'to_entries[] | {key} + .value' FILE > FILE.jsonl" in hint


@pytest.mark.parametrize(
    ("pointer", "content", "problem"),
    [
        ("/a", b'{"b":[{}]}', "nothing stands at '/a', the pointer of the options"),
        ("/a/b", b'{"a":[{"b":[]}]}', "nothing stands at '/a/b'"),
        ("/a", b'{"a":{"b":[]}}', "what stands at '/a' is an object, not an array"),
        ("/a", b'{"a":[1],"a":[2]}', 'there are two members "a"'),
        ("/a", b'{"a":[1]', "cut short"),
        ("/a", b'{"a":[1]}x', "after the end"),
        ("", b"{}", "is an object, not an array"),
        ("/a", b"", "cut short"),
    ],
)
def test_a_pointer_to_no_array_refuses_the_file(path: Path, pointer: str, content: bytes, problem: str) -> None:
    assert problem in refusal(path, content, pointer=pointer).problem


def test_an_envelope_is_streamed_however_large_it_is(path: Path) -> None:
    row = '{"a":"' + "x" * 1000 + '"}'
    path.write_text('{"data":[' + ",".join([row] * 20_000) + '],"more":[{}]}')
    source = open_source(path)
    items = iter(source)
    assert next(items).text == row
    assert source.bytes_read < 3_000_000
    with pytest.raises(SourceError, match="several arrays"):
        list(items)


@unhurried
@given(st.lists(JSON_VALUES, max_size=4), JSON_VALUES, st.integers(1, 9), st.sampled_from(["utf-8", "utf-16"]))
def test_elements_at_a_pointer_come_back_exactly_wherever_blocks_end(
    elements: list[Any], other: Any, block_size: int, encoding: str
) -> None:
    document = {"before": other, "rows": {"x": other, "all": elements}, "after": other}
    content = json.dumps(document, indent=1).encode(encoding)
    blocks = (content[start : start + block_size] for start in range(0, len(content), block_size))
    options = SourceOptions(pointer="/rows/all")
    assert values(list(read_json_document(open_content("given", blocks, encoding), options))) == elements

"""Items that fail for known causes, each with other values and in other places of a batch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from typing import Any, NamedTuple

_ids = count(100)


class Case(NamedTuple):
    """An item, and what a person would say is wrong with it."""

    cause: str
    item: dict[str, Any]


def cases() -> dict[str, list[Case]]:
    """By batch type; the items of one cause differ in their values alone."""
    found: dict[str, list[Case]] = {}
    for batch_type, causes in (
        ("g_books", _books()),
        ("g_by_hand", _BY_HAND),
        ("g_rows", _rows()),
        ("g_loans", _LOANS),
        ("g_fines", _FINES),
        ("g_statements", _STATEMENTS),
        ("g_code", _CODE),
        ("g_choosy", _CHOOSY),
        ("g_saying", _SAYING),
        ("g_slow", _SLOW),
        ("g_records", _RECORDS),
    ):
        found[batch_type] = [Case(cause, item) for cause, items in causes.items() for item in items]
    return found


def _with_ids(causes: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    return {cause: [{"id": next(_ids), **item} for item in items] for cause, items in causes.items()}


def _books() -> dict[str, list[dict[str, Any]]]:
    return {
        **_with_ids(
            {
                "pages is no integer": [{"pages": "many"}, {"pages": ""}, {"pages": "1,5"}],
                "pages is null": [{"pages": None}],
                "too few pages": [{"pages": -1}, {"pages": -77}],
                "too many pages": [{"pages": 9_999}, {"pages": 12_345}],
                "too light": [{"weight": 0}, {"weight": -3.5}],
                "too heavy": [{"weight": 50}, {"weight": 1e9}],
                "title too short": [{"title": "X"}, {"title": ""}],
                "title too long": [{"title": "x" * 21}, {"title": "Жизнь " * 9}],
                "genre unknown": [{"genre": "essay"}, {"genre": "Lyrik"}],
                "binding unknown": [{"bound": "iron"}, {"bound": "paper"}],
                "bought is no date": [{"bought": "yesterday"}, {"bought": "31.12.2020"}, {"bought": "2020-02-30"}],
                "seen is no time": [{"seen": "now"}, {"seen": "2020-01-01 10"}, {"seen": "31.12.2020 10:00"}],
                "price with too many digits": [{"price": "12345.67"}, {"price": "9999999"}],
                "price with too many places": [{"price": "1.234"}, {"price": "0.5555"}],
                "colour unknown": [{"colour": "mauve"}, {"colour": "teal"}],
                "nickname too long": [{"nickname": "x" * 10}, {"nickname": "y" * 30}],
                "copy without number": [{"copies": [{}]}, {"copies": [{"number": 1}, {}]}],
                "copy number is no integer": [{"copies": [{"number": "x"}]}, {"copies": [{"number": 1}, {"number": ""}]}],
                "shelf of another house": [{"copies": [{"number": 1, "shelf": "X1"}]}],
                "shelf too deep": [{"copies": [{"number": 1, "shelf": "S1234"}]}, {"copies": [{"number": 1, "shelf": "S98765"}]}],
                "stock is no integer": [{"stock": {"Main": "x"}}, {"stock": {"Mrs Miller": "?"}}, {"stock": {"7": "y"}}],
                "copy by house is no integer": [
                    {"by_house": {"Main": [{"number": "x"}]}},
                    {"by_house": {"Dr Who": [{"number": 2}, {"number": "y"}]}},
                ],
                "width is no integer": [{"size": ["x", 1]}, {"size": ["y", 1]}],
                "height is no integer": [{"size": [1, "x"]}],
                "mark is neither": [{"mark": "x"}, {"mark": 1.5}, {"mark": "2020-13-13"}],
                "more lent than owned": [{"lent": 6}, {"lent": 9, "owned": 8}],
                "anonymous and soft": [{"Author Name": "Anon", "bound": "soft"}],
                "author is no text": [{"Author Name": 7}, {"Author Name": ["x"]}],
                "column colr": [{"colr": "x"}, {"colr": "y"}],
                "column e-mail": [{"e-mail": "x"}],
            }
        ),
        "id is missing": [{"pages": 1}, {"pages": 2}],
    }  # fmt: skip


_BY_HAND: dict[str, list[dict[str, Any]]] = {
    "days of a loan": [{"name": "Ann", "age": 1, "days": "x"}, {"name": "Bob", "age": 1, "days": "y"}],
    "age of a reader": [{"name": "Ann", "age": "x"}, {"name": "Bob", "age": "y"}],
    "name of a reader": [{"age": 7}],
    "name of a loan": [{"age": 7, "days": 1}],
}


def _rows() -> dict[str, list[dict[str, Any]]]:
    causes: dict[str, list[dict[str, Any]]] = {
        "code taken": [
            {"code": "A"},
            {"code": "B", "how": "returning"},
            {"code": "A", "how": "upsert"},
            {"code": "B", "how": "read"},
        ],
        "mail taken": [{"mail": "A@x"}, {"mail": "b@X"}],
        "no such house": [{"house": 7}, {"house": 77, "how": "read"}],
        "no such town": [{"town": 7}],
        "count not positive": [{"count": 0}, {"count": -5, "how": "returning"}],
        "low not below high": [{"low": 5, "high": 5}, {"low": 9, "high": 2}],
        "name is null": [{"name": None}, {"name": None, "label": "y"}],
        "label is null": [{"label": None}],
        "column colour": [{"colour": "red"}, {"colour": "blue"}],
        "column size": [{"size": 5}],
    }
    for name, values in {
        "net": ["1234.5", "99999"], "gross": ["1234.5", "-77777"], "small": ["40000", "-50000"], "tiny": ["40000"],
        "big": ["9" * 20], "other_big": ["9" * 20, "8" * 22], "v5": ["toolong", "Übergröße"], "w5": ["toolong"],
        "c3": ["toolong"], "tag": ["toolong"], "stamp": ["toolong"],
    }.items():  # fmt: skip
        causes[f"{name} does not hold it"] = [
            {name: value, **how} for value in values for how in ({}, {"how": "returning"}, {"how": "read"})
        ]
    for name, values in {
        "low": ["x", "it's \"7\"", ""], "high": ["x"], "day": ["some day", "gestern"], "night": ["hier"],
        "at": ["noonish"], "since": ["long ago"], "mark": ["x"], "sign": ["x", "y-z"], "grade": ["old", "broken"],
        "worth": ["old"], "home": ["1234", "ABCDE"], "work": ["123"], "parts": ["x", "{1,x}"], "pieces": ["{y}"],
        "flag": ["maybe"], "lamp": ["perhaps"],
    }.items():  # fmt: skip
        causes[f"{name} cannot be read"] = [{name: value, **how} for value in values for how in ({}, {"how": "upsert"})]
    for name in ("day", "night"):
        causes[f"{name} is not in the calendar"] = [{name: "2023-02-30"}, {name: "2022-13-01"}]
    return _with_ids(causes)


_LOANS: dict[str, list[dict[str, Any]]] = {
    "no days": [{"id": 10 + y, "day": f"202{y}-03-03", "note": f"a{y}", "house": 1, "days": -y} for y in (2, 3, 4)],
    "lent twice": [{"id": 1, "day": f"202{y}-05-05", "note": f"b{y}", "house": 1, "days": 1} for y in (2, 3, 4)],
    "note twice": [{"id": 20 + y, "day": f"202{y}-05-05", "note": "n", "house": 1, "days": 1} for y in (2, 3, 4)],
    "no such house": [{"id": 30 + y, "day": f"202{y}-03-03", "note": f"c{y}", "house": y * 7, "days": 1} for y in (2, 3, 4)],
    "no note": [{"id": 40 + y, "day": f"202{y}-03-03", "note": None, "house": 1, "days": 1} for y in (2, 3, 4)],
    "no partition": [{"id": 50, "day": "2031-01-01", "note": "d", "house": 1, "days": 1}, {"id": 51, "day": "1999-01-01", "note": "e", "house": 1, "days": 1}],
}  # fmt: skip
_FINES: dict[str, list[dict[str, Any]]] = {
    "cannot pay": [{"id": 1, "reader": "Smith", "amount": 101}, {"id": 2, "reader": "Garcia", "amount": 999}],
    "would get money": [{"id": 3, "reader": "Smith", "amount": -1}, {"id": 4, "reader": "Garcia", "amount": -9}],
    "has left": [{"id": 5, "reader": "gone", "amount": 1}, {"id": 6, "reader": "gone", "amount": 2}],
    "is dead": [{"id": 7, "reader": "dead", "amount": 1}, {"id": 8, "reader": "dead", "amount": 2}],
    "the trigger overflows": [{"id": 9, "reader": "rich1", "amount": 1}, {"id": 10, "reader": "rich2", "amount": 2}],
    "tag too long": [{"id": 11, "reader": "Smith", "amount": 1, "tag": "long"}],
}
_STATEMENTS: dict[str, list[dict[str, Any]]] = {
    "nap": [{"what": "nap", "value": 3}, {"what": "nap", "value": 4}],
    "long nap": [{"what": "long nap", "value": 3}],
    "share": [{"what": "share", "value": 0}],
    "rest": [{"what": "rest", "value": 0}],
    "column nmae": [{"what": "columns", "value": "nmae"}],
    "column adres": [{"what": "columns", "value": "adres"}],
    "table hoses": [{"what": "tables", "value": 1}, {"what": "tables", "value": 2}],
    "table huoses": [{"what": "tables", "value": 0}],
    "cast": [{"what": "cast", "value": "x"}, {"what": "cast", "value": "y"}],
}


def _on(what: str, *records: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"on": what, **record} for record in records]


_CODE: dict[str, list[dict[str, Any]]] = {
    "street missing": _on("needed", {"city": "A"}, {}, {"city": "B"}),
    "city missing": _on("needed", {"street": "A"}, {"street": "B"}),
    "count unreadable": _on("read", {"count": "x", "rate": "1", "since": "2020-01-01"}),
    "rate unreadable": _on("read", {"count": "1", "rate": "x", "since": "2020-01-01"}),
    "since unreadable": _on("read", {"count": "1", "rate": "1", "since": "x"}, {"count": "1", "rate": "1", "since": "2020-02-30"}),
    "width unreadable": _on("columns", {"width": "x", "height": "1"}, {"width": "", "height": "1"}),
    "height unreadable": _on("columns", {"width": "1", "height": "x"}),
    "zone unknown": _on("zone", {"zone": "west"}, {"zone": "East"}, {"zone": "île"}),
    "label without street": _on("label", {"city": "A"}, {"city": "B"}),
    "label without city": _on("label", {"street": "A"}),
    "getter without street": _on("getter", {"city": "A"}),
    "getter without city": _on("getter", {"street": "A"}),
    "rows unreadable": _on("numbers", {"rows": "x", "seats": "1"}, {"rows": "y", "seats": "1"}),
    "seats unreadable": _on("numbers", {"rows": "1", "seats": "x"}),
    "low unreadable": _on("prices", {"low": "x", "high": "1"}),
    "high unreadable": _on("prices", {"low": "1", "high": "x"}),
    "low negative": _on("prices", {"low": "-1", "high": "1"}, {"low": "-2", "high": "1"}),
    "high negative": _on("prices", {"low": "1", "high": "-1"}),
    "low above high": _on("prices", {"low": "5", "high": "1"}, {"low": "6", "high": "2"}),
    "too dear": _on("prices", {"low": "5", "high": "5000"}, {"low": "5", "high": "6000"}),
    "no mail": _on("needs", {"phone": "1"}, {"mail": "", "phone": "2"}),
    "no phone": _on("needs", {"mail": "a"}, {"mail": "b", "phone": ""}),
    "isbn length": _on("isbn", {"isbn": "1"}, {"isbn": "123"}),
    "isbn letters": _on("isbn", {"isbn": "978x567890123"}),
    "isbn of no book": _on("isbn", {"isbn": "1234567890123"}),
    "isbn missing": _on("isbn", {}, {"a": 1}),
    "lost": _on("fail", {"state": "lost"}),
    "sold": _on("fail", {"state": "sold"}),
    "burnt": _on("fail", {"state": "burnt"}),
    "left unreadable": _on("same_line", {"left": "x", "right": "1"}),
    "right unreadable": _on("same_line", {"left": "1", "right": "x"}),
    "left local unreadable": _on("locals", {"left": "x", "right": "1"}),
    "right local unreadable": _on("locals", {"left": "1", "right": "x"}),
    **{f"answer {status}": _on("answer", {"status": status}) for status in (400, 403, 500)},
    "cloud busy": _on("cloud", {"code": "SlowDown"}),
    "cloud forbids": _on("cloud", {"code": "AccessDenied"}),
    "no such file": _on("file", {"path": "/nowhere/a"}, {"path": "/nowhere/b"}),
    "a folder": _on("file", {"path": "/"}, {"path": "/tmp"}),
    "first is no JSON": _on("json", {"first": "x", "second": "1"}, {"first": "{", "second": "1"}),
    "second is no JSON": _on("json", {"first": "1", "second": "x"}),
    "day unreadable": _on("explained", {"day": "x", "hour": "1"}, {"day": "y", "hour": "1"}),
    "hour unreadable": _on("explained", {"day": "2020-01-01", "hour": "x"}),
    "letter unknown": _on("wrapped", {"letter": "b", "by": 1}, {"letter": "c", "by": 1}),
    "by nothing": _on("wrapped", {"letter": "a", "by": 0}),
    "no a": _on("decorated", {"a": None, "b": 1}),
    "no b": _on("decorated", {"a": 1, "b": None}),
    "whale": _on("match", {"kind": "whale"}),
    "snail": _on("match", {"kind": "snail"}),
    "other animal": _on("match", {"kind": "ox"}, {"kind": "cow"}),
    "head unreadable": _on("nested", {"parts": {"head": "x", "tail": 1}}),
    "tail unreadable": _on("nested", {"parts": {"head": 1, "tail": "x"}}),
    "house unreadable": _on("address", {"street": "s", "number": "x"}, {"street": "s", "number": "7a"}),
    "street is null": _on("address", {"street": None, "number": "1"}),
    "name without space": _on("unpack", {"name": "x", "date": "1-2"}, {"name": "y", "date": "1-2"}),
    "date without dash": _on("unpack", {"name": "a b", "date": "x"}),
    "stock unreadable": _on("users_keys", {"stock": {"Main": "x"}}, {"stock": {"street": "y"}}, {"stock": {"Q": 1, "Z": "z"}}),
    "endless": _on("ping", {}, {"a": 1}),
    "word unknown": _on("words", {"word": "umbrella"}, {"word": "éclair"}),
    "note without page": _on("lambda", {"notes": [{}]}, {"notes": [{"page": 1}, {"x": 2}]}),
    "n too small": _on("assert", {"n": 0}, {"n": -1}),
    "n too large": _on("assert", {"n": 10}, {"n": 11}),
    "two": _on("else", {"n": 2}),
    "many": _on("else", {"n": 3}, {"n": 4}),
    "owner is null": _on("twice", {"owner": None}, {"owner": None, "early": True}),
    "exit": _on("exit", {"word": "a"}, {"word": "b"}),
}  # fmt: skip
_CHOOSY: dict[str, list[dict[str, Any]]] = {
    "a dvd": [{"kind": "dvd"}, {"kind": "dvd", "isbn": "123"}],
    "no isbn": [{"kind": "book"}, {"kind": "map"}],
    "no pages": [{"kind": "book", "isbn": "123", "pages": 0}, {"kind": "book", "isbn": "123", "pages": -1}],
    "isbn too long": [{"kind": "book", "isbn": "1234", "pages": 1}],
    "torn": [{"kind": "book", "isbn": "123", "pages": 1, "torn": True, "wet": False}],
    "wet": [{"kind": "book", "isbn": "123", "pages": 1, "torn": False, "wet": True}],
}
_SAYING: dict[str, list[dict[str, Any]]] = {
    "too young": [{"age": 1, "height": 100, "name": "A"}, {"age": 2, "height": 100, "name": "B"}],
    "too small": [{"age": 20, "height": 1, "name": "A"}],
    "nameless": [{"age": 20, "height": 100, "name": ""}],
}
_SLOW: dict[str, list[dict[str, Any]]] = {
    "slow map": [{"what": "map"}, {"what": "map", "x": 1}, {"what": "map", "x": 2}],
    "slow index": [{"what": "index"}, {"what": "index", "x": 1}],
    "slow wait": [{"what": "wait"}, {"what": "wait", "x": 1}],
}
_RECORDS: dict[str, list[dict[str, Any]]] = {
    "no title": [{"language": "en", "year": 1}, {"language": "de", "year": 2}],
    "no language": [{"title": "x", "year": 1}],
    "no year": [{"title": "x", "language": "en"}],
    "language unknown": [{"title": f"x{n}", "language": "??", "year": 1} for n in range(3)],
    "from the future": [{"title": "x", "language": "en", "year": 3000 + n} for n in range(3)],
}

SECRETS = (
    "Smith",
    "Garcia",
    "Mrs Miller",
    "Dr Who",
    "mauve",
    "teal",
    "UMBRELLA",
    "Umbrella",
    "allerbmu",
    "WEST",
    "gestern",
)
"""Values of items that no title may show, derived ones included."""


def several_at_once() -> Iterator[tuple[dict[str, Any], frozenset[str]]]:
    """Items with one to three of five faults, and which."""
    faults: dict[str, Any] = {"pages": "x", "weight": 0, "title": "X", "bound": "iron", "bought": "x"}
    names = list(faults)
    for bits in range(1, 2 ** len(names)):
        chosen = [name for place, name in enumerate(names) if bits & 1 << place]
        if len(chosen) <= 3:
            yield {"id": next(_ids), **{name: faults[name] for name in chosen}}, frozenset(chosen)


EDITED = """\
from reliable_imports import BaseProcessor


class EditedProcessor(BaseProcessor):
    batch_type = "g_edited"

    def process_item(self, item, ctx):
        record = item.source_data
        self.store(self.amount(record["amount"], record.get("currency")))
        for name in ("from", "to"):
            record[name]

    def amount(self, text, currency):
        if currency == "XXX":
            raise ValueError("there is no such currency")
        if text == "0":
            raise ValueError("nothing is to be paid")
        return float(text)

    def store(self, amount):
        if amount > 99:
            raise ValueError(f"{amount} is too much")
"""
EDITED_ITEMS = {
    "amount unreadable": {"amount": "x"},
    "currency unknown": {"amount": "1", "currency": "XXX"},
    "nothing to pay": {"amount": "0"},
    "too much": {"amount": "100"},
    "from missing": {"amount": "1", "to": 1},
    "to missing": {"amount": "1", "from": 1},
}
HARMLESS_EDITS = {
    "lines moved": ("    def amount", "    # how much it is\n\n\n    def amount"),
    "a comment behind": ("return float(text)", "return float(text)  # in euros"),
    "formatted": ("return float(text)", "return float(\n            text,\n        )"),
    "a local renamed": ("record", "entry"),
    "a parameter renamed": ("text", "raw"),
    "a local introduced": ("return float(text)", "number = text\n        return float(number)"),
    "a local taken out": ('record = item.source_data\n        self.store(self.amount(record["amount"], record.get("currency")))',
                          'record = item.source_data\n        amount = self.amount(record["amount"], record.get("currency"))\n        self.store(amount)'),
    "the class renamed": ("EditedProcessor", "OtherProcessor"),
    "a message reworded": ("there is no such currency", "unknown currency"),
    "a check added": ("        if text ==", '        if text == "none":\n            raise ValueError("none")\n        if text =='),
    "quotes": ('"XXX"', "'XXX'"),
    "a hint of a type": ("def amount(self, text, currency)", "def amount(self, text: str, currency: str) -> float"),
    "a docstring": ("    def process_item(self, item, ctx):\n", '    def process_item(self, item, ctx):\n        """Import."""\n'),
}  # fmt: skip

"""Where a team keeps what several processors check."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from functools import wraps
from typing import Any


class Unusable(ValueError):
    pass


class Refused(Exception):
    """As HTTP clients raise it."""

    def __init__(self, words: str, response: Answer) -> None:
        super().__init__(words)
        self.response = response


class Answer:
    def __init__(self, status: int) -> None:
        self.status_code = status

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise Refused(f"{self.status_code} for https://catalogue.example/books/{self.status_code}", self)


class Throttled(Exception):
    """As the clients of a cloud raise it."""

    def __init__(self, code: str) -> None:
        super().__init__(f"an error occurred ({code})")
        self.response = {"Error": {"Code": code}}


def check_isbn(record: Mapping[str, Any]) -> None:
    isbn = record["isbn"]
    if len(isbn) != 13:
        raise Unusable(f"ISBN {isbn} has {len(isbn)} digits")
    if not isbn.isdigit():
        raise Unusable("ISBN with letters: %s" % isbn)  # noqa: UP031 - as many write it
    if isbn[:3] not in ("978", "979"):
        raise Unusable("no ISBN of a book: {}".format(isbn))  # noqa: UP032


def as_number(text: str) -> int:
    return int(text.replace(" ", ""))


def as_price(text: str) -> Decimal:
    cleaned = text.strip()
    if cleaned.startswith("-"):
        raise Unusable("a price is not negative")
    return Decimal(cleaned)


def need(record: Mapping[str, Any], name: str) -> Any:
    if not record.get(name):
        raise Unusable(f"{name} is empty")
    return record[name]


def ensure(holds: bool, words: str) -> None:
    if not holds:
        raise Unusable(words)


def fail(words: str) -> None:
    raise Unusable(words)


def read_json(text: str) -> Any:
    return json.loads(text)


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **named: Any) -> Any:
        try:
            return function(*args, **named)
        finally:
            pass

    return call


@contextmanager
def explained(what: str) -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError) as error:
        raise Unusable(f"cannot read the {what}") from error

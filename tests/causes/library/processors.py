from __future__ import annotations

import operator
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, TableProcessor
from tests.causes.library import checks
from tests.causes.library.base import RecordProcessor


def _shelf(value: str) -> str:
    if not value.startswith("S"):
        raise ValueError(f"shelf {value} is of another house")
    if len(value) > 4:
        raise ValueError(f"shelf {value} is too deep")
    return value


def _colour(value: str) -> str:
    if value not in ("red", "blue"):
        raise PydanticCustomError("colour", f"nobody paints {value}")
    return value


def _short(value: str) -> str:
    assert len(value) < 9, "a nickname is short"
    return value


class Genre(Enum):
    NOVEL = "novel"
    POEM = "poem"


class Copy(BaseModel):
    number: int
    shelf: Annotated[str, AfterValidator(_shelf)] = "S1"


class Book(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: int
    pages: int = 1
    weight: Annotated[float, Field(gt=0, lt=50)] = 1
    title: Annotated[str, Field(min_length=2, max_length=20)] = "Emma"
    genre: Genre = Genre.NOVEL
    bound: Literal["hard", "soft"] = "hard"
    bought: date | None = None
    seen: datetime | None = None
    price: Annotated[Decimal, Field(max_digits=6, decimal_places=2)] = Decimal(1)
    colour: Annotated[str, AfterValidator(_colour)] = "red"
    nickname: Annotated[str, BeforeValidator(_short)] = ""
    copies: list[Copy] = []
    stock: dict[str, int] = {}
    by_house: dict[str, list[Copy]] = {}
    size: tuple[int, int] = (1, 1)
    mark: int | date = 1
    author: str = Field("Austen", validation_alias="Author Name")
    lent: int = 0
    owned: int = 5

    @field_validator("pages", mode="after")
    @classmethod
    def _sane(cls, value: int) -> int:
        if value < 0:
            raise ValueError(f"{value} pages are too few")
        if value > 9_000:
            raise ValueError(f"{value} pages are too many")
        return value

    @model_validator(mode="after")
    def _fits(self) -> Book:
        if self.lent > self.owned:
            raise ValueError("more are lent than there are")
        if self.author == "Anon" and self.bound == "soft":
            raise ValueError("anonymous books are bound hard")
        return self


class BooksProcessor(TableProcessor):
    batch_type = "g_books"
    table = "library.books"
    key = ("id",)
    model = Book

    def to_row(self, item: ImportBatchItem) -> dict[str, Any]:
        return {"id": super().to_row(item)["id"]}


class Reader(BaseModel):
    name: str
    age: int


class Loan(BaseModel):
    name: str
    days: int


class ByHandProcessor(BaseProcessor):
    batch_type = "g_by_hand"

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        record = item.source_data
        if "days" in record:
            Loan(**record)
        Reader.model_validate(record)


class RowsProcessor(BaseProcessor):
    batch_type = "g_rows"
    breaker_after = None

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        row = dict(item.source_data)
        how = row.pop("how", "insert")
        if how == "insert":
            ctx.insert("library.rows", row)
        elif how == "returning":
            ctx.insert("library.rows", row, returning="id")
        elif how == "upsert":
            ctx.upsert("library.rows", row, key="id")
        elif how == "read":
            ctx.insert("library.rows", row)
            ctx.fetch_value("SELECT 1")


class LoansProcessor(BaseProcessor):
    batch_type = "g_loans"

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.insert("library.loans", item.source_data)


class FinesProcessor(BaseProcessor):
    batch_type = "g_fines"

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.insert("library.fines", item.source_data)


class StatementsProcessor(BaseProcessor):
    batch_type = "g_statements"
    breaker_after = None
    statement_timeout = timedelta(minutes=1)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        what, value = item.source_data["what"], item.source_data["value"]
        if "nap" in what:
            ctx.execute("SET LOCAL statement_timeout = 150")  # too little for it, and for it alone
        match what:
            case "nap":
                ctx.fetch_value("SELECT pg_catalog.pg_sleep(%s)", [value])
            case "long nap":
                ctx.fetch_all("SELECT pg_catalog.pg_sleep(%s) FROM library.houses", [value])
            case "share":
                ctx.fetch_value("SELECT 7 / %s", [value])
            case "rest":
                ctx.fetch_value("SELECT 7 %% %s", [value])
            case "columns":
                for column in ("nmae", "adres"):
                    if column == value:
                        ctx.execute(f"UPDATE library.houses SET {column} = 1")
            case "tables":
                ctx.execute(f"DELETE FROM library.{'hoses' if value else 'huoses'}")
            case "cast":
                ctx.fetch_value("SELECT %s::int", [value])


@dataclass
class Address:
    street: str
    number: str

    @property
    def house(self) -> int:
        return int(self.number)

    @property
    def line(self) -> str:
        return self.street.strip()


class CodeProcessor(BaseProcessor):
    batch_type = "g_code"
    breaker_after = None
    max_tries = 1

    needed: ClassVar[tuple[str, ...]] = ("street", "city")
    readers: ClassVar[dict[str, Callable[[str], object]]] = {"count": int, "rate": Decimal, "since": date.fromisoformat}
    zones: ClassVar[dict[str, int]] = {"NORTH": 1, "SOUTH": 2}

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        record = item.source_data
        getattr(self, "on_" + record["on"])(record)

    def on_needed(self, record: dict[str, Any]) -> None:
        for name in self.needed:
            record[name]

    def on_read(self, record: dict[str, Any]) -> None:
        {name: read(record[name]) for name, read in self.readers.items()}

    def on_columns(self, record: dict[str, Any]) -> None:
        row = {}
        for name in ("width", "height"):
            row[name] = int(record[name])

    def on_zone(self, record: dict[str, Any]) -> None:
        self.zones[record["zone"].upper()]

    def on_label(self, record: dict[str, Any]) -> None:
        "{street} {city}".format(**record)

    def on_getter(self, record: dict[str, Any]) -> None:
        operator.itemgetter("street", "city")(record)

    def on_numbers(self, record: dict[str, Any]) -> None:
        checks.as_number(record["rows"])
        checks.as_number(record["seats"])

    def on_prices(self, record: dict[str, Any]) -> None:
        low = checks.as_price(record["low"])
        high = checks.as_price(record["high"])
        checks.ensure(low < high, "low is above high")
        checks.ensure(high < 1000, f"{high} is too dear")

    def on_needs(self, record: dict[str, Any]) -> None:
        checks.need(record, "mail")
        checks.need(record, "phone")

    def on_isbn(self, record: dict[str, Any]) -> None:
        checks.check_isbn(record)

    def on_fail(self, record: dict[str, Any]) -> None:
        if record["state"] == "lost":
            checks.fail("the book is lost")
        if record["state"] == "sold":
            checks.fail("the book is sold")
        record["state"] == "burnt" and checks.fail("the book is burnt")  # type: ignore[func-returns-value]

    def on_same_line(self, record: dict[str, Any]) -> None:
        [int(record["left"]), int(record["right"])]

    def on_locals(self, record: dict[str, Any]) -> None:
        left, right = record["left"], record["right"]
        int(left)
        int(right)

    def on_answer(self, record: dict[str, Any]) -> None:
        checks.Answer(record["status"]).raise_for_status()

    def on_cloud(self, record: dict[str, Any]) -> None:
        raise checks.Throttled(record["code"])

    def on_file(self, record: dict[str, Any]) -> None:
        open(record["path"]).close()

    def on_json(self, record: dict[str, Any]) -> None:
        checks.read_json(record["first"])
        checks.read_json(record["second"])

    def on_explained(self, record: dict[str, Any]) -> None:
        with checks.explained("date"):
            date.fromisoformat(record["day"])
        with checks.explained("hour"):
            int(record["hour"])

    def on_wrapped(self, record: dict[str, Any]) -> None:
        try:
            {"a": 1}[record["letter"]] / record["by"]
        except Exception:
            raise RuntimeError("it cannot be done")  # noqa: B904 - as many write it

    @checks.logged
    def on_decorated(self, record: dict[str, Any]) -> None:
        if record["a"] is None:
            raise ValueError("no a")
        if record["b"] is None:
            raise ValueError("no b")

    def on_match(self, record: dict[str, Any]) -> None:
        match record["kind"]:
            case "whale":
                raise ValueError("no books for whales")
            case "snail":
                raise ValueError("no books for snails")
            case _:
                raise ValueError(f"what is a {record['kind']}?")

    def on_nested(self, record: dict[str, Any]) -> None:
        def part(name: str) -> int:
            return int(record["parts"][name])

        part("head")
        part("tail")

    def on_address(self, record: dict[str, Any]) -> None:
        address = Address(record["street"], record["number"])
        address.house
        address.line

    def on_unpack(self, record: dict[str, Any]) -> None:
        first, last = record["name"].split(" ")
        day, month = record["date"].split("-")

    def on_users_keys(self, record: dict[str, Any]) -> None:
        for house, count in record["stock"].items():
            int(count)

    def on_ping(self, record: dict[str, Any]) -> None:
        self.on_pong(record)

    def on_pong(self, record: dict[str, Any]) -> None:
        self.on_ping(record)

    def on_words(self, record: dict[str, Any]) -> None:
        raise LookupError(f"nobody knows {record['word'].title()} or {record['word'][::-1]}")

    def on_lambda(self, record: dict[str, Any]) -> None:
        list(map(lambda each: each["page"] + 1, record["notes"]))  # noqa: C417

    def on_assert(self, record: dict[str, Any]) -> None:
        assert record["n"] > 0
        assert record["n"] < 9, "too large"

    def on_else(self, record: dict[str, Any]) -> None:
        if record["n"] == 1:
            pass
        elif record["n"] == 2:
            raise ValueError("two")
        else:
            raise ValueError("many")

    def on_twice(self, record: dict[str, Any]) -> None:
        if record.get("early"):
            record["owner"].strip()
        else:
            record["owner"].strip()

    def on_exit(self, record: dict[str, Any]) -> None:
        raise SystemExit(record["word"])


class ChoosyProcessor(BaseProcessor):
    batch_type = "g_choosy"

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        record = item.source_data
        if record["kind"] == "dvd":
            return False
        if "isbn" not in record:
            return False
        return bool(record["pages"] > 0 and len(record["isbn"]) == 3 and not (record["torn"] or record["wet"]))

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        pass


class SayingProcessor(BaseProcessor):
    batch_type = "g_saying"

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        record = item.source_data
        for name in ("age", "height"):
            if record[name] < 10:
                ctx.reject("too small", field=name)
        if record["name"] == "":
            ctx.reject("has no name")


class SlowProcessor(BaseProcessor):
    batch_type = "g_slow"
    item_timeout = timedelta(milliseconds=200)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        if item.source_data["what"] == "map":
            self.draw()
        elif item.source_data["what"] == "index":
            self.index()
        else:
            self.wait()

    def draw(self) -> None:
        while True:
            self.stroke(1)

    def stroke(self, width: int) -> int:
        return sum(range(width))

    def index(self) -> None:
        for number in iter(int, 1):
            self.stroke(number)

    def wait(self) -> None:
        time.sleep(5)


class RecordsProcessor(RecordProcessor):
    batch_type = "g_records"
    wanted = ("title", "language", "year")

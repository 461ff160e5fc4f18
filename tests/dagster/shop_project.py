"""A code location whose tables refer to each other, and to one that another asset has made."""

from collections.abc import Mapping
from typing import ClassVar

import dagster as dg
from pydantic import AliasChoices, AliasPath, BaseModel, Field

from reliable_imports import TableProcessor
from reliable_imports_dagster import build_reliable_imports_defs

TABLES = """
CREATE SCHEMA shop;
CREATE TABLE shop.customers (number integer PRIMARY KEY, city text);
CREATE TABLE shop."Orders.2024" (
    order_no integer PRIMARY KEY,
    customer integer REFERENCES shop.customers,
    follows integer REFERENCES shop."Orders.2024",
    clerk integer
);
CREATE TABLE days (id integer PRIMARY KEY, day text);
COMMENT ON COLUMN days.day IS 'As in the calendar.';
CREATE TABLE clerks (number integer PRIMARY KEY);
ALTER TABLE shop."Orders.2024" ADD FOREIGN KEY (clerk) REFERENCES clerks;
"""


class Customer(BaseModel):
    number: int
    city: str | None = None


class CustomersProcessor(TableProcessor):
    table = "shop.customers"
    key = ("number",)
    model = Customer


class Order(BaseModel):
    order_no: int = Field(alias="OrderNo", description="As printed.")
    customer: int = Field(validation_alias=AliasChoices("buyer", AliasPath("parties", "buyer")))
    follows: int | None = None
    secret: str | None = Field(default=None, exclude=True)


class OrdersProcessor(TableProcessor):
    table = 'shop."Orders.2024"'
    key = ("order_no",)
    model = Order
    depends_on = ("customers",)


class DaysProcessor(TableProcessor):
    table = "days"
    rename: ClassVar[Mapping[str, str]] = {"Day": "day"}
    partitions = "daily from 2024-01-01"


@dg.asset(metadata={"dagster/table_name": "clerks"})
def clerks() -> None: ...


defs = dg.Definitions.merge(build_reliable_imports_defs(__name__), dg.Definitions(assets=[clerks]))

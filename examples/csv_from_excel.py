"""Customers from a spreadsheet that was saved as CSV: semicolons, a title line, German dates and numbers."""

from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, Field

from reliable_imports import SourceOptions, TableProcessor

GermanDate = Annotated[date, BeforeValidator(lambda text: datetime.strptime(text, "%d.%m.%Y").date())]
GermanNumber = Annotated[Decimal, BeforeValidator(lambda text: text.replace(".", "").replace(",", "."))]


class Customer(BaseModel):
    number: str = Field(alias="Kundennr.")  # text, so that 00017 keeps its zeros
    name: str = Field(alias="Name")
    email: str | None = Field(alias="E-Mail")
    since: GermanDate = Field(alias="Kunde seit")
    credit: GermanNumber = Field(alias="Kredit")


class CustomersProcessor(TableProcessor):
    table = "shop.customers"
    key = ("number",)
    model = Customer
    null_tokens = frozenset({""})
    sensitive = ("email",)
    source_options = SourceOptions(delimiter=";", encoding="cp1252", skip_lines=1)
    setup_sql = Path(__file__).with_suffix(".sql")

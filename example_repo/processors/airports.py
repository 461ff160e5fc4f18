"""Airports by their FAA code."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from example_repo import DATA, TABLES_SQL
from reliable_imports import TableProcessor

Smallint = Annotated[int, Field(ge=-32768, le=32767)]


class Airport(BaseModel):
    """Altitude in feet; `tz` in hours from UTC; `dst` as OpenFlights has it: A as in the USA, N none, U unknown."""

    faa: str = Field(pattern=r"^[A-Z0-9]{3}$")
    name: str = Field(min_length=1)
    lat: float = Field(ge=-90, le=90)
    lon: float = Field(ge=-180, le=180)
    alt: Smallint
    tz: int = Field(ge=-12, le=14)
    dst: Literal["A", "N", "U"]
    tzone: str | None


class AirportsProcessor(TableProcessor):
    """The airports that flights leave from and go to."""

    table = "example.airports"
    key = ("faa",)
    model = Airport
    source = DATA / "airports.csv"
    null_tokens = frozenset({"", "NA"})
    setup_sql = TABLES_SQL

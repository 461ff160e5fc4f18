"""Airlines by their IATA code."""

from pydantic import BaseModel, Field

from example_repo import DATA, TABLES_SQL
from reliable_imports import TableProcessor


class Airline(BaseModel):
    carrier: str = Field(pattern=r"^[A-Z0-9]{2}$")
    name: str = Field(min_length=1)


class AirlinesProcessor(TableProcessor):
    """The airlines that flights refer to."""

    # No null_tokens: `NA` is a code that an airline can have.
    table = "example.airlines"
    key = ("carrier",)
    model = Airline
    source = DATA / "airlines.csv"
    setup_sql = TABLES_SQL

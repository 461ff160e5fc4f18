"""Aircraft by their tail number."""

from typing import Annotated

from pydantic import BaseModel, Field

from example_repo import DATA, TABLES_SQL
from reliable_imports import TableProcessor

Count = Annotated[int, Field(ge=0, le=32767)]


class Plane(BaseModel):
    """Year of manufacture and cruising speed (miles per hour) are missing for many."""

    tailnum: str = Field(min_length=1)
    year: int | None = Field(ge=1903, le=9999)
    type: str = Field(min_length=1)
    manufacturer: str = Field(min_length=1)
    model: str = Field(min_length=1)
    engines: Count
    seats: Count
    speed: Count | None
    engine: str = Field(min_length=1)


class PlanesProcessor(TableProcessor):
    """The aircraft that flights are flown with."""

    table = "example.planes"
    key = ("tailnum",)
    model = Plane
    source = DATA / "planes.csv"
    null_tokens = frozenset({"", "NA"})
    setup_sql = TABLES_SQL

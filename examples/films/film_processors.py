"""Films, and the companies that distribute them."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, Field

from reliable_imports import TableProcessor

HERE = Path(__file__).parent


def _day(value: Any) -> date:
    """`Jun 12 1998`."""
    return datetime.strptime(value, "%b %d %Y").date()


class Film(BaseModel):
    title: str = Field(alias="Title")
    released: Annotated[date, BeforeValidator(_day), Field(le=date(2011, 12, 31))] = Field(alias="Release Date")
    distributor: str = Field(alias="Distributor")
    genre: str = Field(alias="Major Genre")
    mpaa_rating: str | None = Field(alias="MPAA Rating")
    director: str | None = Field(alias="Director")
    running_time: int | None = Field(alias="Running Time min")
    production_budget: int | None = Field(alias="Production Budget")
    us_gross: int | None = Field(alias="US Gross")
    worldwide_gross: int | None = Field(alias="Worldwide Gross")
    imdb_votes: int = Field(alias="IMDB Votes")
    imdb_rating: float | None = Field(alias="IMDB Rating")


class FilmsProcessor(TableProcessor):
    table = "films.films"
    key = ("title", "released")
    model = Film
    source = HERE / "data" / "movies.json.gz"
    setup_sql = HERE / "films.sql"
    depends_on = ("distributors",)


class Distributor(BaseModel):
    name: str = Field(min_length=1)


class DistributorsProcessor(TableProcessor):
    table = "films.distributors"
    key = ("name",)
    model = Distributor
    source = HERE / "data" / "distributors.csv"
    setup_sql = HERE / "films.sql"

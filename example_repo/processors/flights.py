"""Flights, with the times of a day that the source writes as numbers, and the gaps of those that never left."""

from collections.abc import Mapping
from datetime import date, time
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field, model_validator

from example_repo import DATA, TABLES_SQL
from reliable_imports import TableProcessor


def clock_time(value: object) -> time:
    """`517` -> 05:17. `2400`, the end of a day, becomes 00:00, for neither Python nor most clients have a 24:00.

    Nothing is lost by that: on which day a flight left or arrived follows from schedule and delay alone.
    """
    if isinstance(value, time):
        return value
    digits = str(value)
    if not (digits.isascii() and digits.isdecimal() and len(digits) <= 4):
        raise ValueError("a time of day is up to four digits, HHMM")
    hours, minutes = divmod(int(digits), 100)
    if minutes > 59 or hours * 60 + minutes > 24 * 60:
        raise ValueError("there is no such time of day")
    return time(hours % 24, minutes)


ClockTime = Annotated[time, BeforeValidator(clock_time)]
Code = Annotated[str, Field(pattern=r"^[A-Z0-9]{3}$")]
Minutes = Annotated[int, Field(ge=-32768, le=32767)]


class Flight(BaseModel):
    """One scheduled flight; what did not happen is None, so a cancelled one has no departure.

    Times of day are those of the clocks at the place; `time_hour` is the scheduled hour of departure as an instant.
    Delays are minutes, negative when early. Whoever needs the instant of departure adds the minutes of
    `sched_dep_time`, and `dep_delay`, to `time_hour`. `hour` and `minute` of the source repeat `sched_dep_time`.
    """

    flight_date: date
    carrier: str = Field(pattern=r"^[A-Z0-9]{2}$")
    flight: int = Field(ge=1, le=9999)
    origin: Code
    dest: Code
    tailnum: Annotated[str, Field(min_length=1)] | None
    time_hour: AwareDatetime
    sched_dep_time: ClockTime
    dep_time: ClockTime | None
    dep_delay: Minutes | None
    sched_arr_time: ClockTime
    arr_time: ClockTime | None
    arr_delay: Minutes | None
    air_time: Annotated[int, Field(gt=0, le=32767)] | None
    distance: int = Field(gt=0, le=32767)

    @model_validator(mode="before")
    @classmethod
    def _join_date(cls, row: object) -> object:
        """The source has the date in three columns; joined here, 30 February is a fault of `flight_date`."""
        if not isinstance(row, Mapping):
            return row
        year, month, day = (str(row.get(part, "")) for part in ("year", "month", "day"))
        return {**row, "flight_date": f"{year}-{month:0>2}-{day:0>2}"}


class FlightsProcessor(TableProcessor):
    """Flights out of New York City. One that names an unknown aircraft or airport fails until that is imported."""

    table = "example.flights"
    key = ("flight_date", "carrier", "flight", "origin")
    model = Flight
    source = DATA / "flights-2013-week-1.csv.gz"
    null_tokens = frozenset({"", "NA"})
    setup_sql = TABLES_SQL
    depends_on = ("airlines", "airports", "planes")
    schedule = "0 6 * * *"

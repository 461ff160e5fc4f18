"""Airlines by their IATA code."""

from example_repo import DATA, TABLES_SQL
from reliable_imports import TableProcessor


class AirlinesProcessor(TableProcessor):
    """The airlines that flights refer to."""

    # No null_tokens: `NA` is a code that an airline can have.
    table = "example.airlines"
    source = DATA / "airlines.csv"
    setup_sql = TABLES_SQL

"""A table that exists, for a processor that is written for it."""

from __future__ import annotations

from reliable_imports.errors import ConfigurationError
from reliable_imports.postgres.connect import connect
from reliable_imports.postgres.queries import load
from reliable_imports.scaffold.draft import table_name

_QUERIES = load("scaffold.sql")


def columns_of_table(dsn: str, table: str) -> list[str]:
    """The columns that can be written to, in their order.

    Raises:
        ConfigurationError: there is no such table, or this role may not see it.
    """
    name = table_name(table)
    with connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(_QUERIES["columns_of_table"], {"name": name})
        found = [column for (column,) in cursor.fetchall()]
    if not found:
        raise ConfigurationError(
            f"there is no table {name} that can be seen; name it with its schema, such as shop.orders, or let one be "
            "made by --from FILE"
        )
    return found

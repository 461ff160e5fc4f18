"""The queries of the preflight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reliable_imports.postgres.connect import Connection


def ask(connection: Connection, query: str, params: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    """All rows of a query."""
    with connection.cursor() as cursor:
        cursor.execute(query, dict(params or {}))
        return cursor.fetchall()

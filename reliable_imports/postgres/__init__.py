"""PostgreSQL: connections and transactions, DSNs, statements, and the product's own schema.

Public are the names below, for programs that use the database beside the manager.
"""

from reliable_imports.postgres.connect import Connection, connect, rows, transaction
from reliable_imports.postgres.dsn import parse_dsn, redacted_dsn
from reliable_imports.postgres.queries import load

__all__ = ["Connection", "connect", "load", "parse_dsn", "redacted_dsn", "rows", "transaction"]

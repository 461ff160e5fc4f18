"""PostgreSQL: connections and transactions, DSNs, statements, and the product's own schema.

connect        connections, and the transactions on them
sharing        connections for calls: one for each, or one that several share
opening        a connection that is opened in a thread
dsn            DSNs, read and shown without their passwords
queries        the SQL in `.sql` files, by name
schema         brings the schema up to date
program        what a release wants to find in a database
error_sorting  whose fault an error is
statement      what a processor's statement does to the transaction or the session
literals       statements with their parameters in place
copy_text      rows as COPY takes them

All SQL stands in the folders: `migrations` make the tables, `functions` and `views` hold one each, `sql` the queries.

Public are the names below, for programs that use the database beside the manager.
"""

from reliable_imports.postgres.connect import Connection, connect, rows, transaction
from reliable_imports.postgres.dsn import parse_dsn, redacted_dsn
from reliable_imports.postgres.queries import load

__all__ = ["Connection", "connect", "load", "parse_dsn", "redacted_dsn", "rows", "transaction"]

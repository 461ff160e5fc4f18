"""COPY of PostgreSQL 17 and newer, straight into the table, with ON_ERROR ignore: only what is no value of its column
is left out, and a message names it. A row that a constraint refuses ends the whole."""

from __future__ import annotations

import sys
from contextlib import closing

import psycopg2

from benchmarks.dirty.shapes import SHAPES, Shape


def main(dsn: str, path: str, shape: Shape) -> None:
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        connection.notices = []
        with open(path, "rb") as file:
            cursor.copy_expert(
                f"COPY {shape.table} FROM STDIN (FORMAT csv, HEADER, ON_ERROR ignore, LOG_VERBOSITY verbose)", file
            )
        print(cursor.rowcount, "rows")
        for notice in connection.notices:
            print(notice.strip())


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], SHAPES[sys.argv[3]])
    except psycopg2.IntegrityError as error:
        sys.exit(f"nothing was imported: {error}")

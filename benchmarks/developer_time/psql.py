"""As `psql -f FILE "$DATABASE_URL"`, for machines without psql."""

import os
import sys
from contextlib import closing
from pathlib import Path

import psycopg2

with closing(psycopg2.connect(os.environ["DATABASE_URL"])) as connection, connection, connection.cursor() as cursor:
    cursor.execute(Path(sys.argv[1]).read_text(encoding="utf-8"))

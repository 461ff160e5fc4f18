"""dlt 1 as its documentation has it: its reader of CSV files, which is pandas, and a merge by the key.

In files of CSV, which dlt loads by COPY, and with the strategy upsert, as is the fastest.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import dlt
import psycopg2
from dlt.sources.filesystem import filesystem, read_csv

from benchmarks.dirty.programs.dlt_rejects import _HINTS
from benchmarks.dirty.shapes import SHAPES, Shape


def main(dsn: str, path: str, shape: Shape) -> None:
    schema, _, table = shape.table.partition(".")
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE {shape.table} ADD COLUMN IF NOT EXISTS _dlt_load_id varchar, "
            "ADD COLUMN IF NOT EXISTS _dlt_id varchar"
        )
    file = Path(path)
    rows = filesystem(bucket_url=file.parent.as_uri(), file_glob=file.name) | read_csv(chunksize=50_000)
    columns: Any = {column: _HINTS[type_] for column, type_ in shape.columns.items()}
    rows.with_name(table).apply_hints(
        primary_key=shape.key,
        write_disposition={"disposition": "merge", "strategy": "upsert"},
        columns=columns,
        file_format="csv",
    )
    with tempfile.TemporaryDirectory() as folder:
        pipeline = dlt.pipeline(
            "imports", destination=dlt.destinations.postgres(dsn), dataset_name=schema, pipelines_dir=folder
        )
        print(pipeline.run(rows.with_name(table)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], SHAPES[sys.argv[3]])

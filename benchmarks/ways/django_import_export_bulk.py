"""django-import-export 4: a ModelResource with use_bulk, batches of 1,000, and its result for each row.

Set for speed as its documentation recommends: skip_diff, and the CachedInstanceLoader, which finds the rows that exist
already in one query instead of one for each row; one transaction. The tablib dataset is made before the time is taken.
In bulk mode one bad row fails its whole batch, so only good rows are given. (Row by row, its default, it isolates with
a savepoint for each row and is several times slower.)
"""

from __future__ import annotations

from typing import Any

from benchmarks.measuring import Clock
from benchmarks.rows import COLUMNS, Item, check_counts
from benchmarks.ways import django_project
from benchmarks.ways.way import Way


def run(dsn: str, items: list[Item], clock: Clock) -> None:
    with django_project.connected(dsn) as target:
        import tablib

        data = tablib.Dataset(*[[item[column] for column in COLUMNS] for item in items], headers=COLUMNS)
        resource = _resource_class(target)()
        with clock.timing("process"):
            result = resource.import_data(data, dry_run=False, use_transactions=True, raise_errors=True)
    new = sum(row.import_type == row.IMPORT_TYPE_NEW for row in result.rows)
    check_counts("row results, and those of new rows", (len(result.rows), new), (len(items), len(items)))


def _resource_class(target: Any) -> Any:
    from import_export import resources
    from import_export.instance_loaders import CachedInstanceLoader

    class TargetResource(resources.ModelResource):  # type: ignore[misc, unused-ignore]
        class Meta:
            model = target
            import_id_fields = ("code",)
            fields = COLUMNS
            use_bulk = True
            batch_size = 1000
            skip_diff = True
            instance_loader_class = CachedInstanceLoader

    return TargetResource


WAYS = [
    Way(
        "django-import-export, bulk",
        run,
        isolates=False,
        tracks="row results, in memory",
        packages=("django-import-export", "django", "psycopg", "psycopg-binary"),
    )
]

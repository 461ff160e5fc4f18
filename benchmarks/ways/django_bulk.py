"""Django 5: QuerySet.bulk_create(update_conflicts=True), a thousand rows with each statement, in one atomic block.

Django uses psycopg 3 with its C extension (psycopg-binary). Model instances are made within the time, for Django needs
them. One bad row undoes its whole statement, so only good rows are given.
"""

from __future__ import annotations

from benchmarks.measuring import Clock
from benchmarks.rows import COLUMNS, Item
from benchmarks.ways import django_project
from benchmarks.ways.way import Way


def run(dsn: str, items: list[Item], clock: Clock) -> None:
    with django_project.connected(dsn) as target:
        from django.db import transaction

        with clock.timing("process"), transaction.atomic():
            target.objects.bulk_create(
                [target(**item) for item in items],
                batch_size=1000,
                update_conflicts=True,
                unique_fields=["code"],
                update_fields=[column for column in COLUMNS if column != "code"],
            )


WAYS = [
    Way(
        "Django bulk_create(update_conflicts)",
        run,
        isolates=False,
        tracks="nothing",
        packages=("django", "psycopg", "psycopg-binary"),
    )
]

"""The least Django that a model needs: settings, and the target as an unmanaged model."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2

_models: list[Any] = []


@contextmanager
def connected(dsn: str) -> Iterator[Any]:
    """The model of the target, on an open connection to the database of *dsn*."""
    model = _target_model()
    from django.db import connection

    parts = psycopg2.extensions.parse_dsn(dsn)
    connection.settings_dict.update(
        NAME=parts["dbname"], USER=parts["user"], PASSWORD=parts["password"], HOST=parts["host"], PORT=parts["port"]
    )
    connection.ensure_connection()
    try:
        yield model
    finally:
        connection.close()


def _target_model() -> Any:
    if not _models:
        import django
        from django.conf import settings

        settings.configure(
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "set when it is connected"}},
            INSTALLED_APPS=["import_export"] if _has_import_export() else [],
            USE_TZ=True,
        )
        django.setup()
        from django.db import models

        class Target(models.Model):
            code = models.TextField(primary_key=True)
            name = models.TextField()
            city = models.TextField()
            amount_cents = models.BigIntegerField()
            quantity = models.BigIntegerField()
            note = models.TextField()

            class Meta:
                app_label = "benchmarks"
                managed = False
                db_table = 'bench"."target'

        _models.append(Target)
    return _models[0]


def _has_import_export() -> bool:
    from importlib.util import find_spec

    return find_spec("import_export") is not None

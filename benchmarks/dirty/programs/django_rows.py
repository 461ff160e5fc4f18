"""Django with import-export 4, row by row, as it comes: each row is loaded, checked and saved by itself.

Not in one transaction, for then one bad row undoes all: import-export rolls back whatever has errors. Rows that it
refuses are kept by a model of one's own, from the result that it has in memory at the end.
"""

from __future__ import annotations

import sys
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings

from benchmarks.dirty.shapes import SHAPES, Shape


def main(dsn: str, path: str, shape: Shape) -> None:
    where = urlsplit(dsn)
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": where.path[1:],
        "USER": where.username,
        "PASSWORD": where.password,
        "HOST": where.hostname,
        "PORT": where.port,
    }
    settings.configure(DATABASES={"default": database}, INSTALLED_APPS=["import_export"], USE_TZ=True)
    django.setup()
    import_orders(path, shape)


def import_orders(path: str, shape: Shape) -> None:
    from django.db import connection, models
    from import_export import fields, resources
    from import_export.widgets import ForeignKeyWidget
    from tablib import Dataset

    class Customer(models.Model):
        class Meta:
            app_label = "shop"
            managed = False
            db_table = 'shop"."customers'

    class Reject(models.Model):
        line = models.BigIntegerField()
        row = models.JSONField()
        reason = models.TextField()
        rejected_at = models.DateTimeField(auto_now_add=True)

        class Meta:
            app_label = "shop"
            db_table = "rejects"

    class OrderMeta:
        app_label = "shop"
        managed = False
        db_table = shape.table.replace(".", '"."')

    kinds: dict[str, Any] = {
        "text": models.TextField,
        "integer": models.IntegerField,
        "numeric(10,2)": lambda: models.DecimalField(max_digits=10, decimal_places=2),
        "date": models.DateField,
        "boolean": models.BooleanField,
    }
    columns = {
        **{column: kinds[type_]() for column, type_ in shape.columns.items() if column != "customer_id"},
        "order_no": models.TextField(primary_key=True),
        "reference": models.TextField(unique=True),
        "customer": models.ForeignKey(Customer, models.PROTECT),
    }
    order_model = type("Order", (models.Model,), {"__module__": __name__, "Meta": OrderMeta, **columns})

    class OrderResource(resources.ModelResource):  # type: ignore[misc, unused-ignore]
        customer = fields.Field(
            attribute="customer", column_name="customer_id", widget=ForeignKeyWidget(Customer, "id")
        )

        class Meta:
            model = order_model
            import_id_fields = ("order_no",)
            skip_diff = True
            use_transactions = False

    if Reject._meta.db_table not in connection.introspection.table_names():
        with connection.schema_editor() as editor:
            editor.create_model(Reject)
    with open(path, encoding="utf-8", newline="") as file:
        data = Dataset().load(file, format="csv")
    result = OrderResource().import_data(data, dry_run=False, raise_errors=False)
    rejects = [
        Reject(line=number + 1, row=error.row, reason=str(error.error))
        for number, errors in result.row_errors()
        for error in errors
    ]
    rejects += [
        Reject(
            line=row.number + 1,
            row=dict(zip(data.headers, data[row.number - 1], strict=True)),
            reason=str(row.error_dict),
        )
        for row in result.invalid_rows
    ]
    Reject.objects.bulk_create(rejects, batch_size=1000)
    print({kind: count for kind, count in result.totals.items() if count})


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], SHAPES[sys.argv[3]])

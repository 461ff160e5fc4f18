from dataclasses import dataclass

from django.utils import timezone
from tablib import Dataset

from orders.models import Delivery, OrderFile, Reject, RejectAttempt
from orders.resources import OrderResource

HEADERS = ["Order No.", "Customer", "SKU", "Qty", "Unit price", "Ordered on", "Note"]


@dataclass
class Counts:
    imported: int
    rejected: int


def import_rows(file: OrderFile, rows: list[list[str]]) -> dict[int, str]:
    """Import the rows, and return why some were refused, by their place in the list."""
    short = {number: f"{len(row)} cells instead of {len(HEADERS)}" for number, row in enumerate(rows) if len(row) != 7}
    whole = [number for number in range(len(rows)) if number not in short]
    data = Dataset(*[rows[number] for number in whole], headers=HEADERS)
    result = OrderResource(file).import_data(data, raise_errors=False)
    refused = {whole[number - 1]: str(errors[0].error) for number, errors in result.row_errors()}
    refused.update({whole[row.number - 1]: str(row.error_dict) for row in result.invalid_rows})
    return {**short, **refused}


def import_file(file: OrderFile, rows: list[list[str]]) -> Counts:
    refused = import_rows(file, rows)
    for number, reason in refused.items():
        reject, _ = Reject.objects.get_or_create(
            file=file, row_number=number, defaults={"order_no": rows[number][0].strip(), "cells": rows[number]}
        )
        RejectAttempt.objects.create(reject=reject, reason=reason)
    file.imported, file.rejected = len(rows) - len(refused), len(refused)
    file.finished_at = timezone.now()
    file.save()
    return Counts(file.imported, file.rejected)


def retry_rejects() -> Counts:
    """Those that a later file has brought are settled by that; the others are tried again."""
    counts = Counts(0, 0)
    for file in OrderFile.objects.filter(reject__settled_at=None).distinct().order_by("id"):
        rejects = list(Reject.objects.filter(file=file, settled_at=None).order_by("row_number"))
        newer = set(Delivery.objects.filter(file_id__gt=file.id).values_list("order_no", flat=True))
        refused = import_rows(file, [reject.cells for reject in rejects])
        for number, reject in enumerate(rejects):
            if number in refused and reject.order_no not in newer:
                RejectAttempt.objects.create(reject=reject, reason=refused[number])
                counts.rejected += 1
            else:
                reject.settled_at = timezone.now()
                reject.save()
                counts.imported += 1
    return counts

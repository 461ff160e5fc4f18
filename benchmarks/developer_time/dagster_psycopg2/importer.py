import csv
import hashlib
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2.extras import Json

ROWS_PER_COMMIT = 500
COLUMNS = ("order_no", "customer_id", "sku", "quantity", "unit_price", "ordered_on", "note")
UPSERT = """
INSERT INTO shop.orders (order_no, customer_id, sku, quantity, unit_price, ordered_on, note)
VALUES (%(order_no)s, %(customer_id)s, %(sku)s, %(quantity)s, %(unit_price)s, %(ordered_on)s, %(note)s)
ON CONFLICT (order_no) DO UPDATE SET
    customer_id = EXCLUDED.customer_id,
    sku = EXCLUDED.sku,
    quantity = EXCLUDED.quantity,
    unit_price = EXCLUDED.unit_price,
    ordered_on = EXCLUDED.ordered_on,
    note = EXCLUDED.note
"""
# A row that a later delivery has written must not be written by an older one.
CLAIM_VERSION = """
INSERT INTO shop.order_versions (order_no, import_id, line)
VALUES (%s, %s, %s)
ON CONFLICT (order_no) DO UPDATE SET import_id = EXCLUDED.import_id, line = EXCLUDED.line
WHERE (order_versions.import_id, order_versions.line) <= (EXCLUDED.import_id, EXCLUDED.line)
"""


class BadRow(Exception):
    pass


def parse(cells: Sequence[str]) -> dict[str, Any]:
    if len(cells) != len(COLUMNS):
        raise BadRow(f"{len(cells)} cells instead of {len(COLUMNS)}")
    row: dict[str, Any] = {}
    for column, cell in zip(COLUMNS, cells, strict=True):
        value = cell.strip()
        row[column] = None if value in ("", "NA") else value
    for column, convert in (
        ("customer_id", int),
        ("quantity", int),
        ("unit_price", to_decimal),
        ("ordered_on", to_date),
    ):
        if row[column] is None:
            raise BadRow(f"{column}: is missing")
        try:
            row[column] = convert(row[column])
        except ValueError as error:
            raise BadRow(f"{column}: {error}") from None
    return row


def to_decimal(value: str) -> Decimal:
    try:
        return Decimal(value.replace(".", "").replace(",", "."))
    except InvalidOperation:
        raise ValueError(f"{value!r} is no number") from None


def to_date(value: str) -> date:
    return datetime.strptime(value, "%d.%m.%Y").date()


def write(cursor: Any, cells: Sequence[str], import_id: int, line: int) -> str | None:
    """Write one row; the reason if it is refused."""
    cursor.execute("SAVEPOINT row")
    try:
        row = parse(cells)
        cursor.execute(CLAIM_VERSION, (row["order_no"], import_id, line))
        if cursor.rowcount:
            cursor.execute(UPSERT, row)
    except (BadRow, psycopg2.DataError, psycopg2.IntegrityError) as error:
        cursor.execute("ROLLBACK TO SAVEPOINT row")
        return str(error)
    finally:
        cursor.execute("RELEASE SAVEPOINT row")
    return None


def begin(cursor: Any, path: Path) -> dict[str, Any] | None:
    """The import of this file, begun or taken up again; None if it has been finished, or somebody else has it."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    cursor.execute("SELECT pg_try_advisory_lock(hashtext(%s))", (digest,))
    if not cursor.fetchone()[0]:
        return None
    cursor.execute(
        "INSERT INTO shop.order_imports (file_name, sha256) VALUES (%s, %s) ON CONFLICT (sha256) DO NOTHING",
        (path.name, digest),
    )
    cursor.execute(
        "SELECT id, next_row, imported, rejected FROM shop.order_imports WHERE sha256 = %s AND finished_at IS NULL",
        (digest,),
    )
    found = cursor.fetchone()
    cursor.connection.commit()
    return dict(zip(("id", "next_row", "imported", "rejected"), found, strict=True)) if found else None


def import_file(dsn: str, path: Path) -> dict[str, int]:
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            progress = begin(cursor, path)
            if progress is None:
                return {"imported": 0, "rejected": 0}
            with path.open(encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, delimiter=";")
                next(reader)
                for number, cells in enumerate(reader):
                    if number < progress["next_row"]:
                        continue
                    reason = write(cursor, cells, progress["id"], reader.line_num)
                    if reason is None:
                        progress["imported"] += 1
                    else:
                        progress["rejected"] += 1
                        reject(cursor, progress["id"], reader.line_num, cells, reason)
                    progress["next_row"] = number + 1
                    if progress["next_row"] % ROWS_PER_COMMIT == 0:
                        save(cursor, progress)
            save(cursor, progress)
            cursor.execute("UPDATE shop.order_imports SET finished_at = now() WHERE id = %s", (progress["id"],))
            connection.commit()
    finally:
        connection.close()
    return {"imported": progress["imported"], "rejected": progress["rejected"]}


def save(cursor: Any, progress: dict[str, Any]) -> None:
    cursor.execute(
        "UPDATE shop.order_imports SET next_row = %(next_row)s, imported = %(imported)s, rejected = %(rejected)s "
        "WHERE id = %(id)s",
        progress,
    )
    cursor.connection.commit()


def reject(cursor: Any, import_id: int, line: int, cells: Sequence[str], reason: str) -> None:
    cursor.execute(
        "INSERT INTO shop.order_rejects (import_id, line, order_no, cells) VALUES (%s, %s, %s, %s) RETURNING id",
        (import_id, line, cells[0].strip() if cells else None, Json(cells)),
    )
    note_attempt(cursor, cursor.fetchone()[0], reason)


def note_attempt(cursor: Any, reject_id: int, reason: str) -> None:
    cursor.execute("INSERT INTO shop.order_reject_attempts (reject_id, reason) VALUES (%s, %s)", (reject_id, reason))


def retry_rejects(dsn: str) -> dict[str, int]:
    """Try all open rejects again; those whose order a later delivery has brought are settled by that."""
    connection = psycopg2.connect(dsn)
    counts = {"imported": 0, "rejected": 0}
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(
                "UPDATE shop.order_rejects SET settled_at = now() FROM shop.order_versions "
                "WHERE settled_at IS NULL AND order_versions.order_no = order_rejects.order_no "
                "AND (order_versions.import_id, order_versions.line) > (order_rejects.import_id, order_rejects.line)"
            )
            cursor.execute(
                "SELECT id, import_id, line, cells FROM shop.order_rejects WHERE settled_at IS NULL "
                "ORDER BY id FOR UPDATE SKIP LOCKED"
            )
            for reject_id, import_id, line, cells in cursor.fetchall():
                reason = write(cursor, cells, import_id, line)
                if reason is None:
                    counts["imported"] += 1
                    cursor.execute("UPDATE shop.order_rejects SET settled_at = now() WHERE id = %s", (reject_id,))
                else:
                    counts["rejected"] += 1
                    note_attempt(cursor, reject_id, reason)
    finally:
        connection.close()
    return counts

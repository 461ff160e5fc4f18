"""How each way is set up, asked to import, and asked what became of the rows; none of it counts as written."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
_DAGSTER = [sys.executable, "-m", "dagster"]


@dataclass(frozen=True, slots=True)
class Way:
    """One of the four.

    Attributes:
        names: of the product's that one must know to write what is in the folder.
        set_up: commands before the first import.
        import_file: the command for a file. Commands are run in a copy of the folder.
        go_on: the command after the import of a file was killed.
        retry: the command that runs failures again.
        orchestrated: the command that imports a file as a run of an orchestrator, or None.
        rejects: a query for order number, reason and row of what is open.
        balance: a query for how many rows the first import has received, imported and rejected.
        attempts: a query for order numbers and how often each was refused.
        cannot: what is lacking, besides what the checks find.
    """

    name: str
    folder: Path
    names: Sequence[str]
    set_up: Sequence[Sequence[str]]
    import_file: Callable[[Path], Sequence[str]]
    go_on: Callable[[Path], Sequence[str]]
    retry: Sequence[str]
    orchestrated: Callable[[Path], Sequence[str]] | None
    rejects: str
    balance: str
    attempts: str
    cannot: Sequence[str]
    packages: Sequence[str] = ()


def _ours(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "reliable_imports", *arguments, "--processors", "orders"]


def _import_by_dagster(path: Path) -> list[str]:
    """As somebody would who has a file of run config for it."""
    config = path.with_suffix(".yaml")
    config.write_text(f"ops: {{orders: {{config: {{path: {path}}}}}}}\n", encoding="utf-8")
    return [*_DAGSTER, "job", "execute", "-f", "definitions.py", "-j", "import_orders", "-c", str(config)]


OURS = Way(
    name="Reliable Imports",
    folder=HERE / "ours",
    names=(
        *("TableProcessor", "table", "rename", "strip", "null_tokens", "decimal_comma", "dates", "source_options"),
        *("SourceOptions", "build_reliable_imports_defs", "ReliableImportsResource"),
    ),
    set_up=(),
    import_file=lambda path: _ours("import", str(path), "--as", "orders"),
    go_on=lambda path: _ours("process", "1"),
    retry=_ours("reprocess", "--as", "orders"),
    orchestrated=_import_by_dagster,
    rejects="""
        SELECT
            first.source_data ->> 'Order No.',
            concat_ws(' ', failed.field, failed.constraint_name, failed.error_message, failed.error_detail),
            coalesce(first.source_data::text, convert_from(first.source_raw, 'UTF8'))
        FROM reliable_imports.outstanding_failures AS open
        JOIN reliable_imports.failed_items AS failed USING (batch_id, item_number)
        JOIN reliable_imports.import_batch_items AS first USING (batch_id, item_number)
    """,
    balance="""
        SELECT received, completed + skipped, failed FROM reliable_imports.reconciliation ORDER BY batch_id LIMIT 1
    """,
    attempts="""
        SELECT source_data ->> 'Order No.', count(*)
        FROM reliable_imports.import_attempts AS attempt
        JOIN reliable_imports.import_batch_items AS item USING (batch_id, item_number)
        WHERE attempt.outcome = 'failed'
        GROUP BY 1
    """,
    cannot=(),
)

DLT = Way(
    name="dlt",
    folder=HERE / "dlt",
    names=(
        *("pipeline", "destinations.postgres", "run", "resource", "mark.make_hints", "mark.with_hints"),
        *(
            "write_disposition",
            "strategy",
            "primary_key",
            "data_type",
            "create_table_variant",
            "_dlt_load_id",
            "_dlt_id",
        ),
        *("BaseModel", "Field", "BeforeValidator", "ValidationError", "errors", "model_validate", "model_dump"),
        *("connect", "cursor", "execute", "fetchall", "RealDictCursor"),
    ),
    set_up=(),
    import_file=lambda path: [sys.executable, "pipeline.py", str(path)],
    go_on=lambda path: [sys.executable, "pipeline.py", str(path)],
    retry=[sys.executable, "pipeline.py", "--retry"],
    orchestrated=None,
    rejects="SELECT order_no, reason, cells::text FROM shop.order_rejects WHERE NOT settled",
    balance="SELECT received, imported, rejected FROM shop.order_files",
    attempts="SELECT order_no, 1 FROM shop.order_rejects",
    cannot=(
        "a constraint that is not checked in Python once more fails the whole load",
        "all customers, and all good rows of a file, are in memory",
        "a run is known to the folder of one machine",
    ),
    packages=("dlt",),
)

_MANAGE = [sys.executable, "manage.py"]
DJANGO = Way(
    name="Django with import-export",
    folder=HERE / "django",
    names=(
        *(
            "Model",
            "TextField",
            "IntegerField",
            "DecimalField",
            "DateField",
            "DateTimeField",
            "JSONField",
            "ForeignKey",
        ),
        *("Meta", "managed", "db_table", "UniqueConstraint", "MinValueValidator", "PROTECT", "CASCADE"),
        *("objects", "filter", "exists", "create", "get_or_create", "update_or_create", "values_list", "distinct"),
        *("order_by", "save", "ModelResource", "Field", "import_id_fields", "clean_model_instances", "skip_diff"),
        *("use_transactions", "before_import_row", "skip_row", "after_save_instance", "Widget", "clean", "CharWidget"),
        *("DateWidget", "IntegerWidget", "ForeignKeyWidget", "import_data", "row_errors", "invalid_rows", "error_dict"),
        *("Dataset", "BaseCommand", "add_arguments", "handle", "INSTALLED_APPS", "DATABASES", "timezone.now"),
    ),
    set_up=([*_MANAGE, "makemigrations", "orders"], [*_MANAGE, "migrate"]),
    import_file=lambda path: [*_MANAGE, "import_orders", str(path)],
    go_on=lambda path: [*_MANAGE, "import_orders", str(path)],
    retry=[*_MANAGE, "retry_order_rejects"],
    orchestrated=None,
    rejects="""
        SELECT order_no, (SELECT reason FROM orders_rejectattempt WHERE reject_id = reject.id ORDER BY id DESC LIMIT 1),
            cells::text
        FROM orders_reject AS reject
        WHERE settled_at IS NULL
    """,
    balance="SELECT received, imported, rejected FROM orders_orderfile ORDER BY id LIMIT 1",
    attempts="""
        SELECT order_no, count(*) FROM orders_reject JOIN orders_rejectattempt AS attempt
            ON attempt.reject_id = orders_reject.id GROUP BY order_no
    """,
    cannot=(
        "the whole file is in memory",
        "a killed import begins again at the first row",
        "a run leaves no trace but a row",
    ),
    packages=("django", "django-import-export"),
)

DAGSTER = Way(
    name="psycopg2 with Dagster",
    folder=HERE / "dagster_psycopg2",
    names=(
        *("connect", "cursor", "execute", "fetchone", "fetchall", "rowcount", "commit", "close", "Json", "DataError"),
        *("IntegrityError", "asset", "op", "job", "define_asset_job", "Definitions", "Config", "ConfigurableResource"),
        *("EnvVar", "MaterializeResult", "AssetExecutionContext", "OpExecutionContext", "add_output_metadata"),
        *("ON CONFLICT", "SAVEPOINT", "pg_try_advisory_lock", "FOR UPDATE SKIP LOCKED"),
    ),
    set_up=([sys.executable, str(HERE / "psql.py"), "tables.sql"],),
    import_file=_import_by_dagster,
    go_on=_import_by_dagster,
    retry=[*_DAGSTER, "job", "execute", "-f", "definitions.py", "-j", "retry_order_rejects"],
    orchestrated=_import_by_dagster,
    rejects="""
        SELECT order_no,
            (SELECT reason FROM shop.order_reject_attempts WHERE reject_id = id ORDER BY attempted_at DESC LIMIT 1),
            cells::text
        FROM shop.order_rejects
        WHERE settled_at IS NULL
    """,
    balance="""
        SELECT imported + rejected, imported, rejected FROM shop.order_imports WHERE finished_at IS NOT NULL
        ORDER BY id LIMIT 1
    """,
    attempts="""
        SELECT order_no, count(*) FROM shop.order_rejects JOIN shop.order_reject_attempts ON reject_id = id
        GROUP BY order_no
    """,
    cannot=(
        "each further file format, and each further import, is written again",
        "hundreds of savepoints in a transaction slow down every other session of the server",
    ),
)

WAYS = (OURS, DLT, DJANGO, DAGSTER)

from pathlib import Path

import dagster as dg
from importer import import_file, retry_rejects


class OrdersFile(dg.Config):
    path: str


class Database(dg.ConfigurableResource):
    dsn: str


@dg.asset
def orders(context: dg.AssetExecutionContext, config: OrdersFile, database: Database) -> dg.MaterializeResult:
    counts = import_file(database.dsn, Path(config.path))
    context.log.info("%(imported)s rows imported, %(rejected)s rejected", counts)
    return dg.MaterializeResult(metadata=counts)


@dg.op
def retry(context: dg.OpExecutionContext, database: Database) -> None:
    counts = retry_rejects(database.dsn)
    context.log.info("%(imported)s rejects imported, %(rejected)s still rejected", counts)
    context.add_output_metadata(counts)


@dg.job
def retry_order_rejects() -> None:
    retry()


defs = dg.Definitions(
    assets=[orders],
    jobs=[dg.define_asset_job("import_orders", [orders]), retry_order_rejects],
    resources={"database": Database(dsn=dg.EnvVar("DATABASE_URL"))},
)

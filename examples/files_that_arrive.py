"""Products, from files that somebody puts into a folder."""

from pathlib import Path

from reliable_imports import TableProcessor


class ProductsProcessor(TableProcessor):
    table = "shop.products"
    setup_sql = Path(__file__).with_suffix(".sql")

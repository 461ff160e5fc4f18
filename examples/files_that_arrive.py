"""Products, from files that somebody puts into a folder."""

from pathlib import Path

from pydantic import BaseModel

from reliable_imports import TableProcessor


class Product(BaseModel):
    number: str
    name: str


class ProductsProcessor(TableProcessor):
    table, key, model = "shop.products", "number", Product
    setup_sql = Path(__file__).with_suffix(".sql")

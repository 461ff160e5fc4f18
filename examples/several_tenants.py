"""Contacts of several tenants in one table: the batch says whose they are, and the key has the tenant in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from reliable_imports import ImportBatchItem, TableProcessor


class Contact(BaseModel):
    email: str
    name: str


class ContactsProcessor(TableProcessor):
    table = "saas.contacts"
    key = ("tenant", "email")
    model = Contact
    setup_sql = Path(__file__).with_suffix(".sql")

    class Params(BaseModel):
        tenant: str

    def to_row(self, item: ImportBatchItem) -> Mapping[str, Any]:
        return {"tenant": self.params.tenant, **super().to_row(item)}

"""Contacts from an API that gives them page by page.

python examples/api_with_pages.py http://127.0.0.1:8000/contacts
"""

import json
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from reliable_imports import BatchManager, TableProcessor


class ContactsProcessor(TableProcessor):
    table = "crm.contacts"
    setup_sql = Path(__file__).with_suffix(".sql")


def contacts(url: str | None) -> Iterator[Any]:
    """One after the other; the next page is asked for when the last one is used up."""
    while url:
        with urlopen(url, timeout=30) as answer:
            page = json.load(answer)
        yield from page["results"]
        url = page["next"]


def main(url: str) -> None:
    manager = BatchManager()
    manager.registry.register(ContactsProcessor)
    batch_id = manager.create_batch(
        "contacts", contacts(url), source=url, idempotency_key=f"contacts of {date.today()}"
    )
    summary = manager.process_batch(batch_id)
    print(f"{summary.status}: {summary.completed_items} of {summary.total_items}")


if __name__ == "__main__":
    main(sys.argv[1])

"""Customers from a spreadsheet that was saved as CSV: semicolons, a title line, German dates and numbers."""

from pathlib import Path

from reliable_imports import SourceOptions, TableProcessor


class CustomersProcessor(TableProcessor):
    table = "shop.customers"  # which columns there are, of which types, and which is the key, the table says
    rename = {"Kundennr.": "number", "Name": "name", "E-Mail": "email", "Kunde seit": "since", "Kredit": "credit"}
    decimal_comma = True
    dates = "%d.%m.%Y"
    strip = True
    null_tokens = frozenset({""})
    sensitive = ("email",)
    source_options = SourceOptions(delimiter=";", encoding="cp1252", skip_lines=1)
    setup_sql = Path(__file__).with_suffix(".sql")

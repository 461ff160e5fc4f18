"""Pupils arrive before their classes: they fail for the foreign key, and go in when the classes are there."""

from pathlib import Path

from reliable_imports import TableProcessor

TABLES = Path(__file__).with_suffix(".sql")


class ClassesProcessor(TableProcessor):
    table = "school.classes"
    setup_sql = TABLES


class PupilsProcessor(TableProcessor):
    table = "school.pupils"
    depends_on = ("classes",)
    setup_sql = TABLES

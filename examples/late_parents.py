"""Pupils arrive before their classes: they fail for the foreign key, and go in when the classes are there."""

from pathlib import Path

from pydantic import BaseModel

from reliable_imports import TableProcessor

TABLES = Path(__file__).with_suffix(".sql")


class SchoolClass(BaseModel):
    name: str
    room: str


class Pupil(BaseModel):
    number: int
    name: str
    class_: str

    model_config = {"alias_generator": lambda name: name.rstrip("_")}


class ClassesProcessor(TableProcessor):
    table, key, model = "school.classes", "name", SchoolClass
    setup_sql = TABLES


class PupilsProcessor(TableProcessor):
    table, key, model = "school.pupils", "number", Pupil
    columns = {"class_": "class"}
    depends_on = ("classes",)
    setup_sql = TABLES

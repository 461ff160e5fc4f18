"""Where what was written for a person goes. Nothing is overwritten unasked, and all is written or nothing."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reliable_imports.errors import ConfigurationError
from reliable_imports.scaffold.code import processor_code, table_sql, templates, test_code
from reliable_imports.scaffold.draft import Draft
from reliable_imports.settings import Settings

_PACKAGE = "imports"
_PROCESSORS = f"{_PACKAGE}.processors"
_PYTHONPATH = re.compile(r"^\s*pythonpath\s*=", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Place:
    """
    Attributes:
        project: the folder with `pyproject.toml`, from which commands are run.
        package: of the processors, as it is imported there.
        is_known: the project's settings name it, or a package that it is in.
    """

    project: Path
    package: str
    is_known: bool

    @property
    def folder(self) -> Path:
        return self.project.joinpath(*self.package.split("."))


@dataclass(frozen=True, slots=True)
class NewFile:
    """
    Attributes:
        adds_to: the text goes behind what the file has.
        is_optional: a file that is there is left as it is.
    """

    path: Path
    text: str
    adds_to: bool = False
    is_optional: bool = False


def find_place(into: Path | None, settings: Settings, folder: Path) -> Place:
    """Where the processors of a project are.

    Args:
        into: a folder for them, or the folder of a project; else that of the first package of processors that the
            project names, else `imports`.
        folder: where the command was called.

    Raises:
        ConfigurationError: *into* cannot be a package.
    """
    project = settings.project or folder
    if into is None:
        for package in settings.processors:
            if project.joinpath(*package.split(".")).is_dir():
                return Place(project, package, True)
        return Place(project, _PACKAGE, _PACKAGE in settings.processors)
    target, project = (folder / into).resolve(), project.resolve()
    if not target.is_relative_to(project):
        found = (each for each in (target, *target.parents) if (each / "pyproject.toml").is_file())
        project = next(found, target)  # what is in no project becomes one
        settings = Settings.from_environment(cwd=project)
    if target == project:
        return find_place(None, dataclasses.replace(settings, project=project), project)
    parts = target.relative_to(project).parts
    if parts and parts[0] == "src":  # a layout in which that folder is no package
        raise ConfigurationError(
            f"{into}: packages in src are found when they are installed; install the project and name the package in "
            "[tool.reliable_imports] of pyproject.toml, or give another folder"
        )
    for part in parts:
        if not part.isidentifier():
            raise ConfigurationError(f"{into} cannot be a package of Python: {part!r} is no name; give another folder")
    package = ".".join(parts)
    is_known = any(package == name or package.startswith(f"{name}.") for name in settings.processors)
    return Place(project, package, is_known)


def files_of(draft: Draft, place: Place) -> list[NewFile]:
    """The processor, its table and its test, and what the project needs for them to be found."""
    name = draft.batch_type
    found = processor_and_table(draft, place.folder / f"{name}.py")
    if draft.key is not None and draft.first:
        found.append(NewFile(place.project / "tests" / f"test_{name}.py", test_code(draft)))
    found += _packages(place)
    found += _settings(place)
    return found


def processor_and_table(draft: Draft, module: Path) -> list[NewFile]:
    """The processor, and beside it the SQL that makes its table, if it is to be made."""
    sql = module.with_suffix(".sql")
    if draft.key is None:
        return [NewFile(module, processor_code(draft, None))]
    return [NewFile(module, processor_code(draft, sql.name)), NewFile(sql, table_sql(draft))]


def _packages(place: Place) -> list[NewFile]:
    """An `__init__.py` for each folder of the package that has none."""
    folders = [place.folder, *place.folder.parents]
    inside = [folder for folder in folders if folder != place.project and folder.is_relative_to(place.project)]
    text = '"""What is imported, one module for each batch type."""\n'
    return [NewFile(folder / "__init__.py", text, is_optional=True) for folder in inside]


def _settings(place: Place) -> list[NewFile]:
    pyproject = place.project / "pyproject.toml"
    has_file = pyproject.is_file()
    written = pyproject.read_text(encoding="utf-8") if has_file else ""
    found = []
    lines = []
    if not place.is_known and not _names_processors(written):
        lines += ["[tool.reliable_imports]", f'processors = ["{place.package}"]', ""]
    if not has_file:
        lines += ["[tool.pytest.ini_options]", 'pythonpath = ["."]', ""]
    elif not _PYTHONPATH.search(written):
        text = '"""Its folder is the one that tests import the packages of this project from."""\n'
        found.append(NewFile(place.project / "conftest.py", text, is_optional=True))
    if lines:
        before = "\n" if written.endswith("\n") else "\n\n" if written else ""
        found.append(NewFile(pyproject, before + "\n".join(lines), adds_to=True))
    return found


def _names_processors(written: str) -> bool:
    return "[tool.reliable_imports]" in written


def is_left_out(place: Place) -> bool:
    """Whether the project names other packages of processors, so that a person has to name this one."""
    pyproject = place.project / "pyproject.toml"
    return not place.is_known and pyproject.is_file() and _names_processors(pyproject.read_text(encoding="utf-8"))


def project_files(folder: Path, name: str) -> list[NewFile]:
    """A project in a folder: settings, a package of processors, definitions for Dagster, tests, a README."""
    values = {"name": name, "package": _PACKAGE, "processors": _PROCESSORS, "folder": _PROCESSORS.replace(".", "/")}
    found = []
    for template, path in (
        ("pyproject.toml.jinja", "pyproject.toml"),
        ("init.py.jinja", f"{_PACKAGE}/__init__.py"),
        ("processors.py.jinja", f"{_PACKAGE}/processors/__init__.py"),
        ("definitions.py.jinja", f"{_PACKAGE}/definitions.py"),
        ("README.md.jinja", "README.md"),
        ("gitignore.jinja", ".gitignore"),
        ("test_definitions.py.jinja", "tests/test_definitions.py"),
    ):
        found.append(NewFile(folder / path, templates().get_template(f"project/{template}").render(values)))
    return found


def write_files(files: Sequence[NewFile], *, way_out: str, force: bool = False) -> list[Path]:
    """Write what is not there yet, and return what was written.

    Args:
        way_out: what a person can do about files that are there.
        force: write over them.

    Raises:
        ConfigurationError: a file is there already; nothing was written.
    """
    there = [str(each.path) for each in files if each.path.exists() and not each.is_optional and not each.adds_to]
    if there and not force:
        raise ConfigurationError(f"{', '.join(there)}: there already, and left as it is; {way_out}")
    written = []
    for each in files:
        if each.is_optional and each.path.exists():
            continue
        each.path.parent.mkdir(parents=True, exist_ok=True)
        with each.path.open("a" if each.adds_to else "w", encoding="utf-8", newline="\n") as file:
            file.write(each.text)
        written.append(each.path)
    return written

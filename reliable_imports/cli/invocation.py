"""What one call of the command line was given, and the options that every command shares."""

from __future__ import annotations

import gc
import getpass
import os
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reliable_imports.cli.output import Output
from reliable_imports.cli.text import one_line
from reliable_imports.errors import ConfigurationError, ProcessorWarning
from reliable_imports.settings import Settings
from reliable_imports.statuses import Runner

if TYPE_CHECKING:
    from reliable_imports.manager import BatchManager
    from reliable_imports.processor.registry import ProcessorRegistry

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Invocation:
    """Filled by the shared options, whether they stand before or after the command's name.

    Attributes:
        owns_process: nothing but this command is in its process.
    """

    dsn: str | None = None
    packages: tuple[str, ...] = ()
    as_json: bool = False
    verbose: bool = False
    owns_process: bool = False
    _settings: Settings | None = None

    @property
    def settings(self) -> Settings:
        """Those of the environment and the project, read once."""
        if self._settings is None:
            self._settings = Settings.from_environment()
        return self._settings

    @property
    def output(self) -> Output:
        return Output(as_json=self.as_json)

    def manager(self) -> BatchManager:
        """A manager that knows no processor, for questions."""
        return self._manager(None)

    def manager_with_processors(self) -> BatchManager:
        """A manager with all processors of the packages that were named.

        Raises:
            ConfigurationError: no package was named, one cannot be imported, or none has a processor.
        """
        return self._manager(self.discover())

    def manager_for_work(self) -> BatchManager:
        """Do what `manager_with_processors` does, for a command that is going to process a batch.

        What that takes is loaded first, and left out of all garbage collections: above all of those at the end of the
        interpreter, which would take it apart object by object. What the team's modules hold is still ended in order.

        What the command asks until it processes shares one connection, which is opened meanwhile.
        """
        manager = self.manager()
        # The embedded server is not started for a package that cannot be imported.
        is_running = self._chosen_dsn is not None
        click.get_current_context().with_resource(manager.connected(ahead=is_running))

        from reliable_imports.batches import create  # noqa: F401
        from reliable_imports.batches.repeats import settling  # noqa: F401
        from reliable_imports.engine import run  # noqa: F401
        from reliable_imports.processor import registry, table  # noqa: F401

        if self.owns_process:
            gc.freeze()
        manager.registry = self.discover()
        return manager

    def _manager(self, registry: ProcessorRegistry | None) -> BatchManager:
        from reliable_imports.manager import BatchManager  # `--help` does without it

        return BatchManager(self._chosen_dsn, registry=registry, runner=Runner.CLI, migrate=self.settings.migrate)

    @property
    def _chosen_dsn(self) -> str | None:
        """None for the embedded server."""
        return self.settings.dsn if self.dsn is None else self.dsn

    def discover(self) -> ProcessorRegistry:
        from reliable_imports.processor.registry import ProcessorRegistry

        packages = self.packages or self.settings.processors
        if not packages:
            raise ConfigurationError(
                'no package of processors is named; put processors = ["myapp.processors"] into [tool.reliable_imports] '
                "of pyproject.toml, or set RELIABLE_IMPORTS_PROCESSORS or --processors"
            )
        make_importable(Path.cwd(), self.settings.project)
        named = ", ".join(packages)
        registry = ProcessorRegistry()
        with warnings.catch_warnings(record=True) as told:
            try:
                registry.discover(*packages)
            except SystemExit as error:  # a script without a `__main__` guard; its exit is not ours
                raise ConfigurationError(f"a module of {named} calls sys.exit() while it is imported") from error
        for each in told:
            if issubclass(each.category, ProcessorWarning):
                click.echo(f"warning: {one_line(str(each.message))}", err=True)
            else:
                warnings.showwarning(each.message, each.category, each.filename, each.lineno)
        if not registry:
            raise ConfigurationError(f"there is no processor in {named}")
        return registry

    def export(self) -> None:
        """Put what was given into the environment, where other packages' commands, and what they start, find it."""
        if self.dsn is not None:
            os.environ["RELIABLE_IMPORTS_DSN"] = self.dsn
        if self.packages:
            os.environ["RELIABLE_IMPORTS_PROCESSORS"] = ",".join(self.packages)


def make_importable(*folders: Path | None) -> None:
    """Let packages in *folders* be imported, the first folder's first, as `python -m` does with its own."""
    for folder in reversed(folders):
        if folder is not None and str(folder) not in sys.path:
            sys.path.insert(0, str(folder))


def requester() -> str:
    """Who asks, as it is kept with a batch."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError, ImportError):  # a uid without an account
        return f"cli:uid {os.getuid()}"


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def _remember(field: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def remember(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(context.ensure_object(Invocation), field, value)

    return remember


def _remember_packages(context: click.Context, _: click.Parameter, values: tuple[str, ...]) -> None:
    names = tuple(name for value in values for part in value.split(",") if (name := part.strip()))
    if names:
        context.ensure_object(Invocation).packages = names


def shared_options(command: F) -> F:
    """`--dsn`, `--json` and `--verbose`."""
    for option in (
        click.option(
            "--verbose",
            is_flag=True,
            expose_value=False,
            callback=_remember("verbose"),
            help="Show the traceback of an error.",
        ),
        click.option(
            "--json",
            is_flag=True,
            expose_value=False,
            callback=_remember("as_json"),
            help="Print one JSON document; errors go to stderr as one too.",
        ),
        click.option(
            "--dsn",
            metavar="DSN",
            expose_value=False,
            callback=_remember("dsn"),
            help="The database; else RELIABLE_IMPORTS_DSN (which no process list shows), else the embedded server.",
        ),
    ):
        command = option(command)
    return command


def processor_options(command: F) -> F:
    """`--processors`."""
    return click.option(
        "--processors",
        metavar="PACKAGES",
        multiple=True,
        expose_value=False,
        callback=_remember_packages,
        help="Packages to find processors in, separated by commas; may be repeated. Else RELIABLE_IMPORTS_PROCESSORS, "
        "else `processors` in [tool.reliable_imports] of pyproject.toml.",
    )(command)


def batch_number(text: str) -> int:
    """The type of a BATCH argument."""
    if not (text.isascii() and text.isdecimal() and len(text) < 100 and int(text) > 0):
        raise click.BadParameter(f"{text!r} is no batch's number; `reliable-imports batches` lists them")
    return int(text)


def batch_or_type(command: F) -> F:
    """`BATCH` and `--as TYPE`; `require_one_of_both` wants one of them."""
    option = click.option("--as", "batch_type", metavar="TYPE", help="Instead of BATCH: all batches of this type.")
    return click.argument("batch_id", metavar="[BATCH]", type=batch_number, required=False)(option(command))


def require_one_of_both(batch_id: int | None, batch_type: str | None) -> None:
    """Raise UsageError unless either a batch or a type was given."""
    if (batch_id is None) == (batch_type is None):
        raise click.UsageError("give a BATCH, or --as TYPE")

"""Errors that a person can mend, shown as one line and not as a traceback."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from reliable_imports import ConfigurationError, SourceError


@contextmanager
def refusals_explained() -> Iterator[None]:
    """What was asked for wrongly fails the step with the error's own words; trying again would not help."""
    try:
        yield
    except (ConfigurationError, SourceError) as error:
        # Not `from error`: the UI would show the traceback of that too.
        raise dg.Failure(str(error), allow_retries=False) from None

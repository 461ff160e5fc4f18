"""`python -m tests.dagster.dg` is `dg`."""

import sys
from pathlib import Path

from dagster_dg_cli.cli import main

if __name__ == "__main__":
    sys.path[0] = str(Path(sys.executable).parent)  # as for a program that stands there: not the folder of the caller
    main()

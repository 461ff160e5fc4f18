"""The chores of this repository, one command each: `python tasks.py CHORE`, by the Python that has the extra `dev`."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

PYTHON = (sys.executable, "-m")

CHORES: dict[str, tuple[str, Sequence[Sequence[str]]]] = {
    "format": (
        "write the code as the house does",
        [("ruff", "format", "."), ("ruff", "check", "--fix", ".")],
    ),
    "check": (
        "all that looks at the code and runs none of it",
        [
            ("ruff", "format", "--check", "."),
            ("ruff", "check", "."),
            ("mypy",),
            # What users write passes their own checker, without our strictness.
            ("mypy", "--config-file=", "tests/typing/what_users_write.py"),
        ],
    ),
    "fast": (
        "the tests of the core that need no process of their own",
        [("pytest", "-m", "not slow")],
    ),
    "test": (
        "all tests",
        [("pytest",)],
    ),
    "coverage": (
        "which lines and branches of the engine the tests of the core, of writes and of faults reach",
        [
            ("coverage", "erase"),
            ("coverage", "run", "-m", "pytest", "-n", "0", "tests/core", "tests/writes", "tests/faults"),
            ("coverage", "combine", "--quiet"),
            ("coverage", "report"),
        ],
    ),
    "docs": (
        "write what the documentation takes from the code, make the site in build/site, and test the documentation",
        [
            ("tests.docs.attributes",),
            ("sphinx", "--quiet", "--fail-on-warning", "--keep-going", "docs", "build/site"),
            ("pytest", "-n", "0", "tests/docs"),
        ],
    ),
    "site": (
        "make the site alone",
        [("sphinx", "--quiet", "--fail-on-warning", "--keep-going", "docs", "build/site")],
    ),
    "pictures": (
        "take the pictures of Dagster's UI and record the terminal anew; look at them before you commit them",
        [("tests.ui.pictures",), ("tests.ui.terminal",)],
    ),
    "bench": (
        "measure how fast it is, beside others; needs the extra `bench`",
        [("benchmarks",)],
    ),
}


def main(arguments: Sequence[str]) -> int:
    """Run one chore; what follows its name goes to the last of its commands. Its exit status is that of the first
    command that fails."""
    if not arguments or arguments[0] not in CHORES:
        width = max(map(len, CHORES))
        print("usage: python tasks.py CHORE [ARGUMENTS]\n")
        print("\n".join(f"  {name:{width}}  {does}" for name, (does, _) in CHORES.items()))
        return 2 if arguments else 0
    _, commands = CHORES[arguments[0]]
    for number, command in enumerate(commands, 1):
        given = [*command, *(arguments[1:] if number == len(commands) else ())]
        print("$ python -m", *given, flush=True)
        status = subprocess.run([*PYTHON, *given]).returncode
        if status:
            return status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

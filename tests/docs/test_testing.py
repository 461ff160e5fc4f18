"""docs/testing.md is a file of tests: they pass, all of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text(encoding="utf-8")


def test_the_tests_of_the_page_pass(tmp_path: Path) -> None:
    text = "\n\n".join(re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
    (tmp_path / "test_page.py").write_text(text, encoding="utf-8")
    named = re.findall(r"^def (test_\w+)", text, re.MULTILINE)
    # Of a reader's own environment only what makes the test run: where there is a database is for the page to say.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RELIABLE_IMPORTS_")}

    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-c",
            os.devnull,
            "--rootdir",
            tmp_path,
            "-p",
            "no:cacheprovider",
            "-rp",
            tmp_path,
        ],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^PASSED .*::(test_\w+)", done.stdout, re.MULTILINE) == named

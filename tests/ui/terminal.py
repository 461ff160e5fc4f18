"""`python -m tests.ui.terminal`: records the README's first import in a terminal, as docs/images/terminal.svg.

The commands run in a real terminal of 100 columns, on a server of their own; what is shown is what they print. Lines
appear one after the other where the viewer plays animations, and all at once where it does not.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Mapping
from fcntl import ioctl
from html import escape
from pathlib import Path

from rich.color import ColorSystem
from rich.terminal_theme import DIMMED_MONOKAI
from rich.text import Text

from reliable_imports.embedded import THROW_AWAY, EmbeddedPostgres
from tests.running import ROOT

RECORDING = ROOT / "docs" / "images" / "terminal.svg"
COMMANDS = (
    "reliable-imports init team",
    "cd team",
    "reliable-imports new planes --from ../planes.csv",
    "reliable-imports import ../planes.csv --as planes",
    "reliable-imports status planes",
)
COLUMNS = 100
_MAX_LINES = 12
"""Of what one command prints; the rest is left out, and said."""

_LINE, _CHARACTER, _MARGIN = 18, 8.43, 16
_CONTROL = re.compile(r"\r\n|\r|\x1b\[(\d*)A|\x1b\[2K|\x1b\[\?25[lh]")


def run(command: str, folder: Path, environment: Mapping[str, str]) -> str:
    """What the command writes to a terminal."""
    ours, its = pty.openpty()
    ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    running = subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment, stdin=its, stdout=its, stderr=its, close_fds=True
    )
    os.close(its)
    written = b""
    while True:
        try:
            block = os.read(ours, 65_536)
        except OSError:  # Linux's way to say that nobody writes any more
            block = b""
        if not block:
            break
        written += block
    os.close(ours)
    if running.wait() != 0:
        raise SystemExit(f"{command}: {written.decode()}")
    return written.decode()


def lines_of(written: str) -> list[str]:
    """The lines that stand in the end; colours are kept."""
    lines, at, begin = [""], 0, 0
    for control in _CONTROL.finditer(written):
        lines[at] += written[begin : control.start()]
        begin = control.end()
        if control[0] == "\r\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif control[0].endswith("A"):
            at -= int(control[1] or 1)
        elif control[0].endswith("2K"):
            lines[at] = ""
    lines[at] += written[begin:]
    return [line.rstrip() for line in lines if line.strip()]


def session(folder: Path) -> Iterator[list[str]]:
    """Each command with what it prints."""
    shutil.copy(ROOT / "example_repo" / "data" / "planes.csv", folder)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RELIABLE_IMPORTS_", "PG"))}
    home = folder / "home"
    environment = {**kept, "PATH": programs, "RELIABLE_IMPORTS_HOME": str(home), "TERM": "xterm-256color"}
    server = EmbeddedPostgres(home, settings=THROW_AWAY)
    server.start()
    try:
        where = folder
        for command in COMMANDS:
            prompt = f"\x1b[32m$\x1b[0m \x1b[1m{command}\x1b[0m"
            if command.startswith("cd "):
                where /= command.removeprefix("cd ")
                yield [prompt]
                continue
            printed = lines_of(run(command, where, environment))
            left_out = len(printed) - _MAX_LINES
            yield [prompt, *printed[:_MAX_LINES], *([f"\x1b[2m… {left_out} more lines\x1b[0m"] if left_out > 0 else [])]
    finally:
        server.stop()


def drawn(commands: list[list[str]]) -> str:
    """The lines as an SVG that loads nothing."""
    rows, seconds, number = [], 0.4, 0
    for lines in commands:
        for place, line in enumerate(lines):
            y = _MARGIN + 12 + number * _LINE
            rows.append(f'<text y="{y}" style="animation-delay:{seconds:.1f}s">{"".join(_pieces(line))}</text>')
            number += 1
            seconds += 0.8 if place == 0 else 0.05
        seconds += 1.2
    width, height = _MARGIN * 2 + COLUMNS * _CHARACTER, _MARGIN * 2 + number * _LINE
    theme = DIMMED_MONOKAI
    return f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">
<title>A terminal: a file becomes a processor, a table and a test, and is imported</title>
<style>
text {{ font: 14px ui-monospace, Menlo, Consolas, "DejaVu Sans Mono", monospace; white-space: pre }}
text {{ fill: {theme.foreground_color.hex}; opacity: 0; animation: shown 0s forwards }}
@keyframes shown {{ to {{ opacity: 1 }} }}
@media (prefers-reduced-motion: reduce) {{ text {{ opacity: 1; animation: none }} }}
</style>
<rect width="100%" height="100%" rx="8" fill="{theme.background_color.hex}"/>
{chr(10).join(rows)}
</svg>
"""


def _pieces(line: str) -> Iterator[str]:
    text = Text.from_ansi(line)
    column = 0
    for piece in text.divide(sorted({offset for span in text.spans for offset in (span.start, span.end)})):
        style = piece.spans[0].style if piece.spans else ""
        marks = []
        if not isinstance(style, str):
            if style.color is not None:
                marks.append(f'fill="{style.color.downgrade(ColorSystem.TRUECOLOR).get_truecolor(DIMMED_MONOKAI).hex}"')
            if style.bold:
                marks.append('font-weight="bold"')
            if style.dim:
                marks.append('opacity="0.6"')
        x = f"{_MARGIN + column * _CHARACTER:.1f}"
        length = f"{len(piece) * _CHARACTER:.1f}"
        if piece.plain:
            yield f'<tspan x="{x}" textLength="{length}" {" ".join(marks)}>{escape(piece.plain)}</tspan>'
        column += len(piece)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        RECORDING.write_text(drawn(list(session(Path(folder)))), encoding="utf-8")


if __name__ == "__main__":
    main()

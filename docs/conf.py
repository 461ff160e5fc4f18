"""How the documentation becomes a site: `python tasks.py docs` builds it in build/site.

Nothing is fetched, neither while it is built nor by a browser: the theme brings its fonts and scripts, and the pictures
that are written in Mermaid were drawn beforehand, by `python -m tests.docs.mermaid`.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.parsers.rst import Directive
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring

DOCS = Path(__file__).parent
ROOT = DOCS.parent
sys.path.insert(0, str(ROOT))

project = "Reliable Imports"
copyright = "its authors; Apache License 2.0"  # noqa: A001
version = release = metadata.version("reliable-imports")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_copybutton"]
exclude_patterns = ["_static", "images"]
html_theme = "furo"
html_title = "Reliable Imports"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}
copybutton_prompt_text = r"\$ "
copybutton_prompt_is_regexp = True

myst_heading_anchors = 4
myst_enable_extensions = ["colon_fence"]
myst_fence_as_directive = ["mermaid"]
suppress_warnings = ["misc.highlighting_failure"]  # PostgreSQL knows dollar quotes, and the highlighter does not

# Docstrings put code in single backquotes.
default_role = "literal"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88


_SECTIONS = Config(napoleon_use_ivar=True)


class Mermaid(Directive):
    """A picture that was drawn from the text of the block."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        name = picture_of("\n".join(self.content))
        if not (DOCS / "images" / "mermaid" / name).exists():
            raise self.error("this picture was not drawn; `python -m tests.docs.mermaid` does it")
        depth = os.path.relpath(DOCS, Path(self.state.document["source"]).parent)
        image = nodes.image(uri=f"{depth}/images/mermaid/{name}", alt="a picture of what the text tells")
        return [nodes.container("", image, classes=["picture"])]


def picture_of(text: str) -> str:
    """The name of the file that holds the picture of a Mermaid text."""
    return f"{hashlib.sha256(text.strip().encode()).hexdigest()[:12]}.svg"


def keep_links_to_the_repository(app: Sphinx, relative_path: str, content: list[str]) -> None:
    """Files beside the documentation are part of the site, to be looked at; folders are named by their README."""
    document = (DOCS / relative_path).parent

    def link(match: re.Match[str]) -> str:
        target = match[1]
        path = (document / target).resolve()
        if ":" in target or DOCS in (path, *path.parents):
            return match[0]
        if path == ROOT / "README.md":
            return f"]({os.path.relpath(DOCS / 'index.md', document)})"
        if path.is_dir():
            path /= "README.md"
        return f"](path:{os.path.relpath(path, document)})"

    content[0] = re.sub(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", link, content[0])


def read_docstring(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Google's style. What is indented below a sentence is code; what is indented below `Args:` and the like is not."""
    if what in ("attribute", "property"):
        return  # a colon in it is no type
    is_code = in_section = False
    written = []
    for place, line in enumerate(lines):
        if line.strip() and not line.startswith(" "):
            in_section = line.strip() in ("Args:", "Attributes:", "Raises:", "Returns:", "Yields:")
            is_code = False
        elif line.startswith("    ") and not (in_section or is_code or lines[place - 1].strip()):
            written += [".. code-block:: python", ""]
            is_code = True
        written.append(line)
    lines[:] = str(GoogleDocstring(written, _SECTIONS, None, what, name, thing, options)).splitlines()


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("mermaid", Mermaid)
    app.connect("source-read", keep_links_to_the_repository)
    app.connect("autodoc-process-docstring", read_docstring)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

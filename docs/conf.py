"""The documentation: `make docs`. What is generated from the code is told in ``_generate/__init__.py``."""

import sys
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS.parent))

from pygments.lexers.special import TextLexer  # noqa: E402

from docs._generate import figures, pages, screens  # noqa: E402
from rafiki import __version__  # noqa: E402

project = "Rafiki"
author = "The Rafiki developers"
version = release = __version__
language = "en"

extensions = ["myst_parser", "sphinx_copybutton", "sphinx_design"]
exclude_patterns = ["_build", "_notes", "_generate", "figures", "fragments", "screens"]
myst_enable_extensions = ["colon_fence", "deflist", "attrs_inline"]
myst_heading_anchors = 4
nitpicky = True
suppress_warnings: list[str] = []
add_function_parentheses = False
toc_object_entries = False
python_maximum_signature_line_length = 100
highlight_language = "text"
# A prompt is shown and not copied.
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"
copybutton_selector = "div:not(.screen) > div.highlight > pre"

html_theme = "furo"
html_title = f"Rafiki {release}"
html_static_path = ["_static"]
html_css_files = ["rafiki.css"]
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#0b6e63",
        "color-brand-content": "#0b6e63",
        "color-api-name": "#0b6e63",
        "color-api-pre-name": "#0b6e63",
    },
    "dark_css_variables": {
        "color-brand-primary": "#4cc9b8",
        "color-brand-content": "#4cc9b8",
        "color-api-name": "#4cc9b8",
        "color-api-pre-name": "#4cc9b8",
    },
}


def _write_pages(app: Any) -> None:
    pages.write_command_pages(Path(app.srcdir))


def _fill(app: Any, docname: str, source: list[str]) -> None:
    source[0] = pages.fill(source[0])


def _note_code(app: Any, env: Any, added: set[str], changed: set[str], removed: set[str]) -> set[str]:
    # Generated pages follow from the code, whose changes Sphinx does not see.
    return {name for name in env.found_docs if "<!-- from the code: " in (DOCS / f"{name}.md").read_text("utf-8")}


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", lambda app, config: _write_pages(app))
    app.connect("env-get-outdated", _note_code)
    app.connect("source-read", _fill)
    for name in ("csv", "tsv"):
        app.add_lexer(name, TextLexer)
    app.add_directive("screen", screens.directive(DOCS / "screens"))
    app.add_directive("drawing", figures.directive())
    return {"parallel_read_safe": True, "parallel_write_safe": True}

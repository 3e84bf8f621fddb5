"""How Sphinx builds the documentation: python -m sphinx -W docs docs/_build/html"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from sphinx.addnodes import pending_xref

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "src")]

import vse_exp  # noqa: E402

project = "vse_exp"
author = "The vse_exp contributors"
copyright = author
version = release = vse_exp.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.apidoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "config_keys",
]
exclude_patterns = ["_build", "_ext", "_static"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
nitpicky = False
default_role = "code"  # docstrings write `name`

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

apidoc_modules = [
    {
        "path": "../src/vse_exp",
        "destination": "modules",
        "separate_modules": False,  # a page a package: each page takes a tree of all pages
        "module_first": True,
        "no_headings": False,
        "implicit_namespaces": False,
    }
]
autodoc_default_options = {
    "members": True,
    "show-inheritance": True,
    "member-order": "bysource",
    "ignore-module-all": True,  # a name stands where it is defined
}
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
# what only some extras bring may be absent where the documentation is built
autodoc_mock_imports = ["timm", "open_clip", "sentence_transformers", "faiss", "eccv_caption"]
autodoc_inherit_docstrings = False
autodoc_use_type_comments = False
toc_object_entries = False  # modules stand beside a page, not each of their functions

html_theme = "furo"
html_title = f"vse_exp {release}"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_js_files = [("access.js", {"defer": "defer"})]
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def _as_written(
    app: Any, what: str, name: str, found: object, options: object, lines: list[str]
) -> None:
    """Docstrings are text with `code` and lists: what reST would read otherwise is escaped."""
    made: list[str] = []
    inside = False
    for line in lines:
        starts = line.lstrip().startswith(("- ", "1. "))
        if starts and made and made[-1].strip() and not inside:
            made.append("")  # a list stands apart in reST
        inside = starts or (inside and line.startswith("  "))
        code = line.split("`")
        code[::2] = [re.sub(r"([|*]|_\b)", r"\\\1", text) for text in code[::2]]
        made.append("`".join(code))
    lines[:] = made


def _without_tree(app: Any, page: str, template: str, context: Any, doctree: object) -> None:
    """Pages of source text, by the hundred, leave out the tree of all pages: they are for readers
    who come from a page and go back."""
    if page.startswith("_modules/"):
        context["toctree"] = lambda **options: ""
    if page == "_modules/index":  # whose lists within lists stand beside an item, not in it
        inside = context["body"].replace("</li>\n<ul>", "\n<ul>").replace("</ul>", "</ul></li>")
        context["body"] = inside.removesuffix("</li>")


def _exact(app: Any, doctree: Any) -> None:
    """Types in signatures have their whole names: Sphinx need not compare each with the ends of
    all names that it knows."""
    for node in doctree.findall(pending_xref):
        if not node.get("refspecific"):
            node.attributes.pop("refspecific", None)


def setup(app: Any) -> None:
    app.connect("doctree-read", _exact)
    app.connect("autodoc-process-docstring", _as_written)
    app.connect("html-page-context", _without_tree, priority=400)  # the theme's comes at 500

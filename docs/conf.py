"""How Sphinx makes the site; `make site` calls it on the sources that tools/site/build.py puts together."""

import inspect
import pathlib
import re
import tomllib

from tools import links

PROJECT = tomllib.loads((links.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OWNER, NAME = links.repository().split("/")

project = "Autoencoders in Keras 3"
author = PROJECT["authors"][0]["name"]
release = PROJECT["version"]
copyright = f"{author}, Apache License 2.0"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "sphinx_design"]

# The lessons are shown as they are stored.
nb_execution_mode = "off"
nb_merge_streams = True
nb_output_stderr = "remove"
myst_enable_extensions = ["amsmath", "attrs_inline", "colon_fence", "dollarmath"]
myst_heading_anchors = 3

# Docstrings follow Keras: single backticks are code, and these are their sections.
default_role = "literal"
napoleon_numpy_docstring = False
napoleon_custom_sections = [
    ("Call arguments", "params_style"),
    "Input shape",
    "Output shape",
    "Reference",
]
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_typehints = "none"
autodoc_inherit_docstrings = False

html_theme = "sphinx_book_theme"
html_title = project
html_baseurl = f"https://{OWNER}.github.io/{NAME}/"
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_context = {"default_mode": "auto"}
html_css_files = ["site.css"]
html_theme_options = {
    "repository_url": f"https://github.com/{OWNER}/{NAME}",
    "repository_branch": links.BRANCH,
    "path_to_docs": "",  # the lessons lie in notebooks/, here as there
    "use_repository_button": True,
    "use_download_button": False,
    "launch_buttons": {"colab_url": "https://colab.research.google.com", "binderhub_url": "https://mybinder.org"},
    "navbar_persistent": [],  # else there is a second field to search in
    "show_toc_level": 2,
}
html_copy_source = False

# MathJax 4 would fetch fonts from elsewhere; version 3 is one file.
mathjax_path = "mathjax/tex-svg.js"
mathjax3_config = {"options": {"enableMenu": False}}


def keep_own_members(app, what, name, obj, skip, options):
    """Leaves out what Keras asks every class for, such as `call` and `get_config`: it has no docstring of its own."""
    return skip or (inspect.isfunction(obj) and not obj.__doc__)


def keep_initials(app, what, name, obj, options, lines):
    """Else an author's initial at the start of a line begins a numbered list."""
    lines[:] = [re.sub(r"^(\s*)([A-Z]\. )", r"\1\\\2", line) for line in lines]


def write_sitemap(app, error):
    if error is None:
        pages = sorted(app.env.found_docs)
        lines = [f"<url><loc>{html_baseurl}{app.builder.get_target_uri(page)}</loc></url>" for page in pages]
        pathlib.Path(app.outdir, "sitemap.xml").write_text(
            '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
            + "\n".join(lines)
            + "\n</urlset>\n",
            encoding="utf-8",
        )


def setup(app):
    app.connect("autodoc-process-docstring", keep_initials, priority=100)
    app.connect("autodoc-skip-member", keep_own_members)
    app.connect("build-finished", write_sitemap)

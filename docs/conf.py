"""How Sphinx makes the site; `make site` calls it on the sources that tools/site/build.py puts together."""

import html
import inspect
import pathlib
import re
import tomllib

import docutils.nodes
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import stringify_signature

from tools import links

PROJECT = tomllib.loads((links.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXPLORER_FIGURES = {
    "map": ("09_adversarial_autoencoder", "Codes of test digits in the plane, and the images decoded over it."),
    "draw": ("04_denoising_autoencoder", "Damaged digits, and what several models make of them."),
    "code": ("08_variational_autoencoder", "Codes of test digits in the plane, and images decoded on a grid."),
}

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
html_baseurl = links.site(links.repository())
html_static_path = ["_static"]
html_favicon = "_static/icon.svg"
html_context = {"default_mode": "auto"}
html_css_files = ["site.css", "explorer/explorer.css"]
html_js_files = ["site.js"]
html_theme_options = {
    "repository_url": f"https://github.com/{links.repository()}",
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


class Explorer(SphinxDirective):
    """`{explorer} map plain_2 variational_2`: a view of the explorer, and a figure where there is no JavaScript."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self):
        view, *models = self.arguments[0].split()
        static = "../" * self.env.docname.count("/") + "_static"
        figure, text = EXPLORER_FIGURES[view]
        return [
            docutils.nodes.raw(
                "",
                f'<div class="aelib-explorer" data-view="{view}" data-models="{" ".join(models)}">'
                f"<noscript><p>Here an autoencoder runs in the page, if JavaScript is on. A figure instead:</p>"
                f'<img src="{static}/lessons/{figure}.png" alt="{text}"></noscript></div>'
                f'<script async src="{static}/explorer/explorer.js"></script>',
                format="html",
            )
        ]


def keep_own_members(app, what, name, obj, skip, options):
    """Leaves out what Keras asks every class for, such as `call` and `get_config`: it has no docstring of its own."""
    return skip or (inspect.isfunction(obj) and not obj.__doc__)


def state_signature(app, what, name, obj, options, signature, return_annotation):
    """States a class's own arguments: Keras's models seem to take any."""
    if what == "class":
        own = list(inspect.signature(obj.__init__).parameters.values())[1:]
        signature = stringify_signature(inspect.Signature(own), show_annotation=False)
    return signature, return_annotation


def keep_initials(app, what, name, obj, options, lines):
    """Else an author's initial at the start of a line begins a numbered list."""
    lines[:] = [re.sub(r"^(\s*)([A-Z]\. )", r"\1\\\2", line) for line in lines]


def describe(app, page, template, context, doctree):
    """Gives a page's first sentences to search engines, and to those who are shown a link to it."""
    if doctree is None:
        return
    [text, *_] = [
        *(text for node in doctree.findall(docutils.nodes.paragraph) if len(text := node.astext()) > 60),
        f"{project}: an executable course on autoencoders, and its library",
    ]
    title, text = (html.escape(each, quote=True) for each in (context["title"], text[:300]))
    context["metatags"] += (
        f'<meta name="description" content="{text}">\n'
        f'<meta property="og:title" content="{title}">\n<meta property="og:description" content="{text}">\n'
        f'<meta property="og:type" content="website">\n'
        f'<meta property="og:image" content="{html_baseurl}_static/social.png">\n'
        '<meta name="twitter:card" content="summary_large_image">\n'
    )


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
    app.add_directive("explorer", Explorer)
    app.connect("autodoc-process-docstring", keep_initials, priority=100)
    app.connect("autodoc-process-signature", state_signature)
    app.connect("autodoc-skip-member", keep_own_members)
    app.connect("html-page-context", describe)
    app.connect("build-finished", write_sitemap)

"""How Sphinx builds these pages: ``sphinx-build -W docs docs/_build/html``, without a network."""

import re
import sys
from pathlib import Path

from sphinx.util.docutils import SphinxDirective

from sk_softmax._version import __version__

sys.path.insert(0, str(Path(__file__).parent))
import quotations  # beside this file

project = "sk_softmax"
author = "The sk_softmax developers"
copyright = author
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
]
templates_path = ["_templates"]
exclude_patterns = ["_build", "gallery"]  # Sphinx reads what sphinx-gallery makes of the latter
default_role = "autolink"
rst_epilog = quotations.substitutions()  # |cost.CALLS| is the value of that constant
nitpick_ignore_regex = [("py:.*", r"(sklearn|numpy|scipy)\..*")]

autosummary_generate = True
autodoc_default_options = {"member-order": "bysource"}
autodoc_typehints = "none"  # the docstrings say it for readers
numpydoc_show_class_members = False  # the template lists them
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "generated/gallery",
    "within_subsection_order": "FileNameSortKey",
    "doc_module": ("sk_softmax",),
    "backreferences_dir": "generated/backreferences",
    "remove_config_comments": True,
    "download_all_examples": False,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": 3600,  # how long this machine took is nobody's business
}

html_theme = "pydata_sphinx_theme"
html_title = f"sk_softmax {release}"
html_show_sourcelink = False
html_sidebars = {"contributing": [], "api": []}
html_theme_options = {
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}

INHERITED = ("score", "get_params", "set_params")  # from scikit-learn, and shown
LABELLED = re.compile(r":ref:`([^`<]+) <[^`>]+>`")  # a link within scikit-learn's own site
FITTED_SHAPE = re.compile(r"\((\w+)_(?=[,)])")  # (n_features_in_,) is a shape and no link


class FromCode(SphinxDirective):
    """``.. from-code:: NAME``: what the function of ``quotations.py`` writes."""

    required_arguments = 1

    def run(self):
        self.env.note_reread()  # the code may have changed though the page has not
        return self.parse_text_to_nodes(getattr(quotations, self.arguments[0])())


def skip_foreign(app, what, name, member, skip, options):
    """Leave out what scikit-learn's base classes add, save what every user calls."""
    module = getattr(member, "__module__", None)
    if module and not module.startswith("sk_softmax") and name not in INHERITED:
        return True
    return None


def unlink(app, what, name, obj, options, lines):
    """Keep the words of what reads as a link and leads nowhere."""
    if name.rpartition(".")[2] in INHERITED:
        lines[:] = [LABELLED.sub(r"\1", line) for line in lines]
    lines[:] = [FITTED_SHAPE.sub(r"(\1\\_", line) for line in lines]


def setup(app):
    if (Path(app.srcdir) / "gallery").is_dir():  # and not a page built by itself, in a test
        app.setup_extension("sphinx_gallery.gen_gallery")
    app.add_directive("from-code", FromCode)
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("autodoc-process-docstring", unlink, priority=900)  # after numpydoc

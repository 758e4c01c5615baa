"""The documentation site: ``sphinx-build -W -b html docs docs/_build``."""

import inspect
import os
import warnings

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

import sksngp

# Suppress messages of TensorFlow, and windows, in the processes that run the examples.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["MPLBACKEND"] = "agg"
# joblib replaces workers whose memory has grown.
warnings.filterwarnings("ignore", "A worker stopped while some jobs", UserWarning)

project = "sksngp"
author = copyright = "The sksngp developers"
version = release = sksngp.__version__
language = "en"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
html_static_path = ["_static"]
html_css_files = ["custom.css"]
exclude_patterns = ["_build", "auto_examples/*.ipynb", "auto_examples/GALLERY_HEADER*"]
myst_enable_extensions = ["dollarmath"]
default_role = "py:obj"  # single backquotes link to the reference

autosummary_generate = True
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # the parameters of numpydoc include types and shapes
numpydoc_show_class_members = False  # the template lists the methods

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"\.py$",
    # serve.py runs until it is stopped. Examples import sentence_embeddings.py.
    "ignore_pattern": r"(serve|sentence_embeddings)\.py$",
    "within_subsection_order": "ExampleTitleSortKey",
    "parallel": 2,  # number of examples that run at the same time
    "doc_module": ("sksngp",),
    "backreferences_dir": "generated/backreferences",
    "abort_on_example_error": True,
    "show_signature": False,
    "write_computation_times": False,
    "min_reported_time": float("inf"),
}

html_theme = "pydata_sphinx_theme"
html_title = "sksngp"
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "navigation_with_keys": False,
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_end": [],
}


def skip_foreign_members(app, what, name, obj, skip, options):
    """Skip methods that are inherited from scikit-learn or Python."""
    home = getattr(obj, "__module__", None) or ""
    if inspect.isroutine(obj) and not home.startswith("sksngp"):
        return True
    return None


def visit_math(translator, node):
    """Write MathML, which browsers render without an external script."""
    if isinstance(node, nodes.math_block):
        formula = tex2mathml(node.astext(), as_block=True)
        written = f'<div class="math-block">{formula}</div>\n'
    else:
        written = tex2mathml(node.astext())
    translator.body.append(written)
    raise nodes.SkipNode


def setup(app):
    """Register the event handler and the math renderer."""
    app.connect("autodoc-skip-member", skip_foreign_members)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math, None))

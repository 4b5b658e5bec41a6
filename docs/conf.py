"""Sphinx: `make docs` builds HTML from these pages and the docstrings, offline; every warning is an error."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from openmm_confgf import __version__

project = "openmm_confgf"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
exclude_patterns = ["_build"]
myst_enable_extensions = ["dollarmath"]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# aliases of NumPy's types unfold to half a page each
autodoc_type_aliases = {"NDArray": "NDArray", "ArrayLike": "ArrayLike", "Tensor": "Tensor"}
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
# attributes are fields already: a second description of each would be a duplicate
napoleon_use_ivar = True
napoleon_use_rtype = False

html_theme = "alabaster"
html_theme_options = {"description": "Conformers from learned models, scored with OpenMM", "fixed_sidebar": True, "page_width": "1100px"}

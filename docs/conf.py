# SPDX-License-Identifier: Apache-2.0
"""Sphinx: the site out of the Markdown of the whole repository. The source directory is the root of the tree, so that
a page stands on the site where it stands in the repository and the links between pages hold in both."""
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

with open(os.path.join(ROOT, "CMakeLists.txt"), encoding="utf-8") as cmake:
    version = re.search(r"^project\(qkd004 VERSION ([\d.]+)", cmake.read(), re.M).group(1)
release = version

project = "qkd004"
author = "the qkd004 contributors"
copyright = "the qkd004 contributors. Apache License 2.0"
language = "en_GB"

extensions = ["myst_parser", "breathe", "sphinx.ext.autodoc"]
root_doc = "docs/index"
include_patterns = ["docs/**.md", "src/**.md", "tests/**.md", "capi/**.md", "bindings/python/README.md", "CONTRIBUTING.md"]
exclude_patterns = ["build", ".git", "**/node_modules"]
source_suffix = {".md": "markdown"}

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
# every header's page opens the namespaces again; in C a typedef has the name of its enumeration
suppress_warnings = ["duplicate_declaration.cpp", "duplicate_declaration.c"]

breathe_projects = {"qkd004": os.environ.get("QKD004_DOXYGEN", os.path.join(ROOT, "build/docs/doxygen/xml"))}
breathe_default_project = "qkd004"
breathe_default_members = ("members", "undoc-members")
breathe_show_include = False
breathe_domain_by_extension = {"h": "c"}

nitpicky = True
# Names of the standard library and of Asio, template parameters, and what is deliberately not part of the reference.
nitpick_ignore_regex = [
    (r"c:.*", r"u?int(8|16|32|64)_t|size_t|NULL|struct timespec|FILE"),
    (r"py:.*", r"(os|uuid|enum|sys|collections|typing|logging)\..*|qkd004\.(_qkd004\.|aio\._).*"),
    (r"cpp:.*", r"std(::.*)?"),
    (r"cpp:.*", r"asio(::.*)?"),
    (r"cpp:.*", r"u?int(8|16|32|64)_t|size_t|timespec|pid_t|clockid_t|::getpid"),
    (r"cpp:.*", r"(time_point|duration)::.*"),
    (r"cpp:.*", r"counters|stream|state|next|waiting_map::iterator|detail(::.*)?"),  # named inside the class that has them
]

sys.path.insert(0, os.environ.get("QKD004_PYTHON", ""))
autodoc_typehints = "signature"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"qkd004 {version}"
html_static_path = ["site/static"]
html_css_files = ["qkd004.css"]
html_extra_path = ["site/top"]
html_copy_source = False
html_show_sphinx = False
html_permalinks_icon = "#"
html_theme_options = {"navigation_with_keys": True}
pygments_style = "friendly"
pygments_dark_style = "native"

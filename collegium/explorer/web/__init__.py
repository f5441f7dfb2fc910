"""The explorer's pages as HTML and JSON: rendering, a read-only server on loopback, and a static site.

Needs the extra `explorer` (Jinja2). Strict content security policy, nothing from elsewhere, readable without scripts.
"""

from __future__ import annotations

"""The annex to an agreement: what a study's plan means, in words that a lawyer can check against the plan."""

from __future__ import annotations

from .content import NO_AGREEMENT, Terms, build_annex, build_sheet
from .render import FORMATS, render

__all__ = ["FORMATS", "NO_AGREEMENT", "Terms", "build_annex", "build_sheet", "render"]

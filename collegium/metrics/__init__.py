"""How good a classifier is, with intervals that say how sure that is; numpy only.

`binary`: measures of one site from scores and labels. `disclosure`: the counts a site may publish, no small cell
among them. `pooling`: all sites together from those counts alone, and how much they differ.
"""

from .binary import BinaryMeasures, auroc, measure_binary
from .disclosure import MIN_CELL, Disclosed, disclose
from .interval import Measure, undefined, wilson
from .pooling import Pooled, heterogeneity, pool

__all__ = [
    "MIN_CELL",
    "BinaryMeasures",
    "Disclosed",
    "Measure",
    "Pooled",
    "auroc",
    "disclose",
    "heterogeneity",
    "measure_binary",
    "pool",
    "undefined",
    "wilson",
]

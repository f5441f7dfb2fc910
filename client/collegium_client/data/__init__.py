"""Local data as a study's schema describes them; nothing here ever leaves the institution.

`Schema` is agreed on by all sites; `read_table` and `read_images` turn files into arrays by it, refusing what breaks
it; `is_held_out` deals cases to training and evaluation. pandas, pillow and pydicom load when they are needed.
"""

from .images import ImageCases, read_images
from .schema import Column, Schema
from .splitting import is_held_out
from .tables import TableCases, read_table

__all__ = ["Column", "ImageCases", "Schema", "TableCases", "is_held_out", "read_images", "read_table"]

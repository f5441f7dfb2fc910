"""The history of a deployment as pages: read models built from public events, receipts and blobs; no HTML here.

`Source` keeps up with a chain, `Replay` is what its events say, `pages` turns that into frozen records, and
`collegium.explorer.web` shows those records. Nothing is believed that an audit would not believe either, and nothing
is proven here: `collegium audit` is for that.
"""

from __future__ import annotations

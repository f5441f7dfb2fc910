"""`python -m collegium_client.cli`."""

from . import main

main()

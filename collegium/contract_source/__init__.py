"""From an address to its source: what a release compiles to, whether a chain holds that, and publishing it.

`release` is what the package ships; `targets` joins it with a deployment; `comparison` holds both against a chain;
`sourcify`, `blockscout` and `etherscan` publish, through `publishing`, which remembers what was accepted.
"""

"""Set-up of a clone: Python environment, Ethereum tools, Solidity compiler, Kubo.

Standard library only, since it runs before anything is installed.
"""

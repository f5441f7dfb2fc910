"""Reaching others: TLS bound to node keys, private authorities, proxies. See docs/network.md."""

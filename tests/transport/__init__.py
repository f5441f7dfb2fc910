"""TLS, proxies and who may talk to whom."""

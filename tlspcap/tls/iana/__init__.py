"""IANA's TLS registries as dated CSV files, a code a line; `names.py` reads them, `refresh.py` rewrites them."""

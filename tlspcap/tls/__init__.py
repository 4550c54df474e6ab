"""Ordered bytes in, what happened in the handshake out. Knows nothing of packets, files or tables."""

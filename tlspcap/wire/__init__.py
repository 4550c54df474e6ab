"""Capture bytes in, TCP bytes in order out. Knows nothing of TLS beyond what a record's first bytes look like."""

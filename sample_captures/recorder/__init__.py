"""Records the sample captures: real TLS stacks, real tcpdump, loopback, and what both endpoints said."""

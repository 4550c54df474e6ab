"""tlspcap: what every TLS handshake in a packet capture came to, and why."""

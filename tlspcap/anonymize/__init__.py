"""What a capture says of whom, replaced: addresses, names, keys and words; the handshake's structure is left."""

"""The packets of chosen handshakes, as a capture of their own. `extracting` holds what users call."""

"""`python -m tlspcap`: the command line."""

import sys

from tlspcap.cli import main

if __name__ == "__main__":
    sys.exit(main())

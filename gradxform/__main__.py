"""The command line's door: `gradxform`, or `python -m gradxform`."""

import sys

from .comparison.command import main

if __name__ == "__main__":
    sys.exit(main())

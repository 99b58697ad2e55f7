"""The command line: ``python -m factory_reuse``, or ``factory-reuse``."""

# PYTHON_ARGCOMPLETE_OK

import sys

from factory_reuse._cli.parser import main

if __name__ == "__main__":
    sys.exit(main())

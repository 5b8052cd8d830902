"""Run the command line: ``python -m nussl_transfer`` is ``nussl-transfer``."""

import sys

from .cli import main

sys.exit(main())

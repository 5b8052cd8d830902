"""``python -m nussl_transfer`` is the command ``nussl-transfer``."""

import sys

from .cli import main

sys.exit(main())

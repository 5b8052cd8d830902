"""The command line: one command for each corpus. `--help` explains each."""

from __future__ import annotations

import sys

from jsonargparse import auto_cli

from nussl_transfer.errors import TransferError

from .bach10 import render_bach10
from .choirset import render_choirset
from .ensembles import render_ensembles
from .musdb18 import render_musdb18
from .quartets import render_quartets
from .remixpacks import render_remixpacks
from .sampled import render_sampled
from .slakh import render_slakh

CORPORA = {"bach10": render_bach10, "choirset": render_choirset, "ensembles": render_ensembles,
           "musdb18": render_musdb18, "quartets": render_quartets, "remixpacks": render_remixpacks,
           "sampled": render_sampled, "slakh": render_slakh}


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return the exit status."""
    try:
        done = auto_cli(CORPORA, as_positional=False, args=arguments, prog="python -m recipes.corpora")
    except TransferError as error:
        print(error, file=sys.stderr)
        return 2
    print(done)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Keep the uploads and the stems of each visitor of the page, and remove them when the visitor leaves."""

from __future__ import annotations

import shutil
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Visitor:
    """One open page.

    Attributes:
        stop: Set to end the separation that runs for this visitor.
        uploads: Files that the visitor uploaded.
        stems: Folder of the last separation, or None.
    """

    stop: threading.Event = field(default_factory=threading.Event)
    uploads: set[Path] = field(default_factory=set)
    stems: Path | None = None


class Visitors:
    """All open pages.

    Args:
        root: The temporary folder of the page.

    Attributes:
        uploads: Folder that gradio writes uploads to.
        results: Folder of separated stems; the server offers its files for download.
    """

    def __init__(self, root: Path):
        self.uploads, self.results = root / "uploads", root / "results"
        for folder in (self.uploads, self.results):
            folder.mkdir(parents=True)
        self._visitors: dict[str, Visitor] = {}

    def visitor(self, session: str | None) -> Visitor:
        """Return a visitor by the name that gradio gives the open page."""
        return self._visitors.setdefault(session or "", Visitor())

    def uploaded(self, session: str | None, path: str | Path | None) -> None:
        """Note the visitor's new upload, and remove the earlier ones; without a path, remove them all."""
        mine = self.visitor(session)
        earlier, mine.uploads = mine.uploads, set()
        if path is not None:
            mine.uploads.add(Path(path))
        self._remove(earlier)

    def new_results(self, session: str | None) -> Path:
        """Remove the visitor's earlier stems, and return a new folder."""
        mine = self.visitor(session)
        if mine.stems is not None:
            shutil.rmtree(mine.stems, ignore_errors=True)
        mine.stems = Path(tempfile.mkdtemp(dir=self.results))
        return mine.stems

    def leave(self, session: str | None) -> None:
        """End the visitor's separation, and remove all files of the visitor."""
        gone = self._visitors.pop(session or "", None)
        if gone is None:
            return
        gone.stop.set()
        self._remove(gone.uploads)
        if gone.stems is not None:
            shutil.rmtree(gone.stems, ignore_errors=True)

    def stop_all(self) -> None:
        """End every separation."""
        for visitor in list(self._visitors.values()):
            visitor.stop.set()

    def _remove(self, uploads: set[Path]) -> None:
        """Remove uploads, except those of another visitor: gradio keeps one copy of equal files."""
        in_use = {path for visitor in list(self._visitors.values()) for path in visitor.uploads}
        for path in uploads - in_use:
            if self.uploads in path.parents:
                path.unlink(missing_ok=True)

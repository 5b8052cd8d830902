"""Turn scores and curves into a page, and into text for a terminal."""

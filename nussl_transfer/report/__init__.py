"""Turn scores and curves into a page."""

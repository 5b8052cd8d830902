"""Turn the scores of a study into tables, figures, answers and a page."""

"""Turn the scores of the study into tables, figures and a page."""

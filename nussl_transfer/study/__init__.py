"""The study: what is trained and scored, and what the scores say about the paper's hypotheses and questions."""

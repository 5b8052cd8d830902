"""The study: what is trained and scored, and what the scores say about the paper's hypotheses and questions.

    plan.py       what a study is, as its YAML file has it
    grid.py       every body and every model of it, with the experiment that makes each
    hours.py      what is left to do
    scores.py     a model is scored, into a file
    writing.py    what the study says of itself and of its data
    results.py    those files, read and held to what belongs together
    cells.py      of them the means of the paper's tables
    curves.py     of curves, when each model reaches its baseline
    analysis.py   all of it, tested
"""

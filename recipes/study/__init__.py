"""The study of the paper: plan its networks, list the jobs, and turn scores into answers about its hypotheses.

Modules::

    plan.py         read the plan, conf/study.yml
    grid.py         expand it into bodies and models, each with its experiment
    jobs.py         list the jobs, their data and their estimated time
    study_file.py   describe the study and its data: study.json, data/*.json
    scores.py       write and read the scores of a model
    analysis.py     means, tests and curves from the scores
    report/         tables, figures, answers and the page
"""

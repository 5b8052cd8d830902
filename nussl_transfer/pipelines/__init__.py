"""Run whole jobs: fine-tune, cross-validate, run an experiment, publish.

finetune.py             fine-tune a model on a folder of stems
summary.py              the report at the end of a fine-tuning
cross_validation.py     train and score one network per fold
experiment.py           the options of an experiment, and its steps
experiment_reading.py   read an experiment from YAML
publish.py              make the folder of a release, and upload it
model_card.py           its model card
"""

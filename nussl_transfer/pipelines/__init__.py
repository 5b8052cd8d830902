"""Run whole jobs: fine-tune, cross-validate, run an experiment, publish."""

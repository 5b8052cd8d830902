"""Score networks on fixed excerpts.

excerpts.py     choose the excerpts of a store
jams.py         write and read lists of excerpts
batches.py      read excerpts in batches, on several threads
estimators.py   estimate sources: a network, an ensemble, the mixture, the oracle mask
score.py        SI-SDR of each reference, and which references are left out
metrics.py      museval's SDR, SIR and SAR
statistics.py   means, significance tests, verdicts
evaluate.py     all of this for several models: scores.json
probe.py        SI-SDR during training, for the learning curve
"""

"""Separate audio with a checkpoint.

separate.py     the public function: files, folders, signals or arrays
files.py        files into files: names of outputs, files that fail
streaming.py    a mixture of any length, block by block
chunks.py       run a network in chunks, and cross-fade its output
ensemble.py     open one or several networks, and average their masks
wiener.py       a multichannel Wiener filter
high_band.py    share out the part of a mixture above the model's band
masks.py        nussl's DeepMaskEstimation in chunks
clustering.py   nussl's DeepClustering in chunks
mixin.py        what these two share
"""

"""
Your first separator
====================

From a folder of stems to separated music that you can listen to, in about a minute. You need some minutes of music with
every instrument, or group of instruments, in a file of its own (a *stem*), and recordings of the same instruments to
separate.

This page ran while the manual was built: it shows the actual output, pictures and sound. Each step has a command that does
the same.
"""

# %%
# 1. The stems
# ------------
#
# One folder per track, one file per stem, the same names in every track:
#
# .. code-block:: text
#
#    my-stems/
#      first song/    soprano.wav  alto.wav  tenor.wav  bass.wav
#      second song/   soprano.wav  alto.wav  tenor.wav  bass.wav
#
# WAV, FLAC, OGG, MP3 and AIFF files work, at any sample rate, mono or stereo. :doc:`/datasets` lists the other layouts,
# including those of public data sets, and says what to do about missing stems.
#
# Here, a program plays three chorales for training and another one for the test (:doc:`/stand-ins`), under the file names
# of the data set Bach10. For your own stems, write ``my_stems = "my-stems"``.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
from player import Players

import nussl_transfer
from nussl_transfer.datasets.recognise import open_tracks
from nussl_transfer.pipelines.finetune import default_training
from recipes.corpora.bach10 import render_bach10

here = Path(tempfile.mkdtemp())
folders = render_bach10(here / "chorales", minutes=1.5, held_out=1)
my_stems, my_test_stems = folders["train"], folders["test"]

for file in sorted(my_stems.rglob("*.wav")):
    print(file.relative_to(my_stems))

# %%
# 2. Check them
# -------------
#
# A check lists what is there and everything that is wrong: unreadable files, stems of one track that differ in length,
# missing or silent stems, clipping, offsets. You must correct errors before training; each error says how.

name, tracks = open_tracks(my_stems)
print(f"Read as {name}.")
print(nussl_transfer.check(tracks, deep=True).table(files=False))

# %%
# .. code-block:: sh
#
#    nussl-transfer check my-stems --deep
#
# 3. Fine-tune
# ------------
#
# :func:`~nussl_transfer.finetune` takes the pretrained network that ships with the package, gives it a new mask head for
# the labels of the stems, and trains all of it. It keeps some tracks for validation; of fewer than four tracks it keeps the
# last quarter of each. The 50 iterations here take seconds; the default is 2,000. A run ends with a report.

training = default_training(iterations=50, validate_every=10)
run = nussl_transfer.finetune(my_stems, here / "run", training=training)
report = (run.folder / "report.txt").read_text(encoding="utf-8")
print(report.replace(f"{here}/", ""))

# %%
# .. code-block:: sh
#
#    nussl-transfer finetune my-stems --out run --iterations 50 --validate-every 10
#
# You can stop it at any time, with Ctrl-C or by a power cut. The same command resumes it, with the result of an
# uninterrupted run (:doc:`/unattended`). The options to try first:
#
# ``--mode mask``
#     Train only the mask head. Everything else stays bit-identical.
#
# ``--coherent``
#     The share of mixtures whose stems play together as recorded. The others combine stems of different tracks and times,
#     which adds variety to little music. Use 1 to train only on stems as they were played together.
#
# ``--checkpoint none``
#     Train from scratch, to see how much the pretrained network helps.
#
# ``--folds``
#     Train and score several networks, each on other tracks, to get a reliable score from a small set.
#
# :doc:`/finetuning` explains all options. The run has a learning curve:

points = run.read_curve()["points"]
iterations = [point["iteration"] for point in points]
losses = [point["valid_loss"] for point in points]

figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
axes.plot(iterations, losses, marker="o")
axes.set(xlabel="iteration", ylabel="validation loss", ylim=(0, None))
plt.show()

# %%
# 4. Separate, and listen
# -----------------------
#
# The network separates a chorale that it was not trained on. :func:`~nussl_transfer.separate` takes a file, a folder or a
# signal, of any length. It returns a signal for each label, or writes files if ``out`` names a folder.

test_track = next(folder for folder in my_test_stems.iterdir() if folder.is_dir())
mixture = test_track / f"{test_track.name}.wav"
estimates = nussl_transfer.separate(mixture, run.folder)
Players({"mixture": mixture, **estimates})

# %%
# .. code-block:: sh
#
#    nussl-transfer separate chorale.wav --model run --out separated
#
# The true stems, to compare:

Players({file.stem.split("-")[-1]: file for file in sorted(test_track.glob("*-*-*.wav"))})

# %%
# :doc:`/separating` has the options. nussl's own ``DeepMaskEstimation`` opens ``run/checkpoints/best.model.pth`` too
# (:doc:`/nussl`).
#
# 5. How good is it?
# ------------------
#
# :func:`~nussl_transfer.evaluate` separates the sum of the test stems, excerpt by excerpt, and measures the SI-SDR of each
# estimate: the ratio of signal to distortion in dB, at any loudness. Higher is better. The score of the mixture itself is
# the score without separation. *oracle* is the mask ``min(|S| / |X|, 1)``, computed from the true stems.

out = here / "scores"
scores = nussl_transfer.evaluate(run.folder, my_test_stems, out=out, oracle=True, progress=False)
for row in scores["summary"]:
    label = row["label"] or "all"
    print(f"{row['estimate']:8} {label:10} {row['mean']:6.2f} dB, n = {row['n']}")

# %%
# .. code-block:: sh
#
#    nussl-transfer evaluate run my-test-stems --out scores --oracle
#
# Fifty iterations are only a beginning: by default, ``finetune`` trains for 2,000.

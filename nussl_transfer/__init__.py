"""A folder of stems goes in, a nussl checkpoint comes out; the modules, in this order, are the way between::

    compat          0   what nussl 1.1.9 needs to run on today's packages
    datasets        1   stems on disk -> tracks: {label: [files to sum]}
    check               what is wrong with a folder of stems, all of it at once (inspection, audio)
    prepare, store  2   tracks -> mono stems at the model's rate, with a manifest (parts, manifest)
    mixing          3   an item, coherent or incoherent, is a function of (seed, index) (augment)
    targets         4   batch of audio -> magnitudes, ideal binary mask, weights
    builders        5   the paper's ChimeraNet; a pretrained body under a new mask head
    losses              the deep clustering loss, without its copies of the embedding
    closures        6   what is frozen and which loss is taken: pretrain | whole | mask (freezing, passes)
    checkpoints         nussl's own file, with labels and provenance
    training        7   fit: engines, schedule, validation, resuming (clipping, runs)
    zoo             8   name -> checkpoint
    separators      9   checkpoint + audio -> one file a label
    evaluation      10  fixed excerpts -> SI-SDR -> significance
    finetuning          all of it for one folder of stems: what the command and the demo call (material)
    folds               the same k times, each without one k-th of the tracks, to be scored on these
    experiments         a YAML file, a difference from another -> a run: what recipes/pretrain.py and finetune.py call
    study               many runs: what is trained and scored, and what the scores say about the paper's questions
    publishing          a run -> a folder to give away
    report          11  scores and curves -> one page
    cli                 the command nussl-transfer

Importing this package imports nussl, mends it, and puts the parts that belong there in nussl's own modules
(`registration`). Import it before nussl::

    import nussl_transfer
    import nussl
"""

from . import compat

__version__ = "0.1.0"

compat.repair()

from .registration import register_all  # noqa: E402  the parts import nussl, so nussl is mended first

register_all()

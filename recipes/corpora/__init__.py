"""Render stand-ins of the paper's data sets, and the ensembles that the body is pretrained on.

::

    python -m recipes.corpora musdb18 --out OUT --minutes 90      songs of a band and a voice, in MUSDB18-HQ's tree
    python -m recipes.corpora slakh --out OUT --minutes 90        songs with MIDI and metadata.yaml, in Slakh2100-redux's
    python -m recipes.corpora choirset --out OUT --minutes 40     chorales and madrigals, in Dagstuhl ChoirSet's
    python -m recipes.corpora remixpacks --out OUT --minutes 60   a drum kit, piece by piece, in Remixpacks'
    python -m recipes.corpora bach10 --out OUT                    five minutes of chorales in Bach10's, others held out
    python -m recipes.corpora quartets --out OUT                  many chorales for Bach10's instruments
    python -m recipes.corpora ensembles --out OUT --hours 24      a store of ensembles of every kind, to pretrain on
    python -m recipes.corpora sampled --out OUT --samples DIR     the same, played with recorded notes of real instruments

The corpora combine real scores (from music21) or randomly generated parts with real samples (General MIDI soundfonts).
Timing, loudness and tuning vary at random, as they do between players. One seed decides every random choice.

They are not recordings. A program plays every note of the same pitch and loudness alike; nobody breathes, bows or slurs,
and there is no room. They show that the pipeline from stems to a separator works, and they are good enough to pretrain a
body. A score on them does not predict a score on recordings. The README.md in each tree says so.

Soundfonts: `bach10` plays TimGM6mb (GPL-2), which comes with pretty_midi. For each part, the others draw one
of the installed soundfonts. On Debian or Ubuntu, `apt-get install fluid-soundfont-gm` (FluidR3, MIT) and
`musescore-general-soundfont-small` (MuseScore General, MIT), installed before `make body`, add two more sets of samples to
every program. The shipped body was made with all three. `--soundfont FILE` chooses another, `--soundfont '[ONE, TWO]'`
several.

The encoder of each score in music21 sets its licence. Palestrina's scores reserve all rights, so they are left out.
"""

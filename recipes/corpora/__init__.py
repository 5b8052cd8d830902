"""Render stand-ins of the paper's data sets, and the ensembles that the body is pretrained on.

::

    python -m recipes.corpora musdb18 --out OUT --minutes 90      songs of a band and a voice, in folders like MUSDB18-HQ
    python -m recipes.corpora slakh --out OUT --minutes 90        songs with MIDI and metadata, like Slakh2100-redux
    python -m recipes.corpora choirset --out OUT --minutes 40     chorales and madrigals, like Dagstuhl ChoirSet
    python -m recipes.corpora remixpacks --out OUT --minutes 60   a drum kit, piece by piece, like Remixpacks
    python -m recipes.corpora bach10 --out OUT                    five minutes of chorales and held-out ones, like Bach10
    python -m recipes.corpora quartets --out OUT                  many chorales for Bach10's instruments
    python -m recipes.corpora ensembles --out OUT --hours 24      a store of ensembles of every kind, to pretrain on
    python -m recipes.corpora sampled --out OUT --samples DIR     the same, played with recorded notes of real instruments

The corpora combine real scores (from music21) or randomly generated parts with real samples (General MIDI soundfonts).
Timing, loudness and tuning vary at random, as they do between players. One seed decides every random choice.

They are not recordings. Notes of the same pitch and loudness sound the same; nobody breathes, bows or slurs. The corpora
show that the pipeline from stems to a separator works, and they are good enough to pretrain a body. A score on them does
not predict a score on recordings. The README.md in each tree says so.

Soundfonts: `bach10` plays TimGM6mb (GPL-2), which comes with pretty_midi. The other corpora, except `sampled`, use all
installed soundfonts. On Debian or Ubuntu, `apt-get install fluid-soundfont-gm` (FluidR3, MIT) and
`musescore-general-soundfont-small` (MuseScore General, MIT), installed before `make body`, add two more sets of samples to
every program. The shipped body was made with all three. `--soundfont FILE` chooses another, `--soundfont '[ONE, TWO]'`
several.

The encoder of each score in music21 sets its licence. Palestrina's scores reserve all rights, so they are left out.
"""

"""Stand-in corpora, rendered by a soundfont: the paper's data sets, and the ensembles that the body learns from.

::

    python -m recipes.corpora musdb18 --out OUT --minutes 90      songs of a band and a voice, in MUSDB18-HQ's tree
    python -m recipes.corpora slakh --out OUT --minutes 90        songs with MIDI and metadata.yaml, in Slakh2100-redux's
    python -m recipes.corpora choirset --out OUT --minutes 40     chorales and madrigals, in Dagstuhl ChoirSet's
    python -m recipes.corpora remixpacks --out OUT --minutes 60   a drum kit, piece by piece, in Remixpacks'
    python -m recipes.corpora bach10 --out OUT                    five minutes of chorales in Bach10's, others held out
    python -m recipes.corpora quartets --out OUT                  many chorales for Bach10's instruments, a folder each
    python -m recipes.corpora ensembles --out OUT --hours 24      a store of ensembles of every kind, to pretrain on
    python -m recipes.corpora sampled --out OUT --samples DIR     the same, played with recorded notes of real instruments

What they are: real scores (music21's) or parts made by chance, real samples (General MIDI soundfonts), players' uneven
timing, loudness and tuning put in by chance, all from one seed. What they are not: recordings. No two notes of a program at
one pitch and loudness differ, nobody breathes, bows or slurs, and no room was there. They show that the way from stems to a
separator works, and they teach a body what belongs together; a score on them says nothing of a score on recordings. Each
tree holds a README.md that says so.

Soundfonts: the one in pretty_midi (TimGM6mb, GPL-2) needs nothing fetched, and `bach10` plays with it. All others draw a
soundfont for each part, from all that they find: on Debian or Ubuntu, `apt-get install fluid-soundfont-gm` (FluidR3,
MIT) and `musescore-general-soundfont-small` (MuseScore General, MIT) before `make body` add two more sets of samples to
every program; the body that ships was made with all three. `--soundfont FILE` names another, `--soundfont '[ONE, TWO]'`
several. The scores of music21 come each under the terms of its encoder; Palestrina's, which reserve all rights, are left
out.
"""

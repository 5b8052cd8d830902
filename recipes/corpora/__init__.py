"""Stand-in corpora, rendered from scores by a soundfont: a small Bach10, and the ensembles that the body learns from.

::

    python -m recipes.corpora bach10 OUT                  five minutes of chorales in Bach10's tree, others held out
    python -m recipes.corpora ensembles OUT --hours 24    a store of ensembles of every kind, to pretrain on

What they are: real scores (music21's), real samples (General MIDI soundfonts), players' uneven timing, loudness and
tuning put in by chance, all from one seed. What they are not: recordings. No two notes of a program at one pitch and
loudness differ, nobody breathes, bows or slurs, and no room was there. They show that the way from stems to a separator
works, and they teach a body what belongs together; a score on them says nothing of a score on recordings.

Soundfonts: the one in pretty_midi (TimGM6mb, GPL-2) needs nothing fetched, and `bach10` plays with it. `ensembles` draws
a soundfont for each part, from all that it finds: on Debian or Ubuntu, `apt-get install fluid-soundfont-gm` (FluidR3,
MIT) and `musescore-general-soundfont-small` (MuseScore General, MIT) before `make body` add two more sets of samples to
every program; the body that ships was made with all three. Others can be named by `--soundfonts`. The scores of music21
come each under the terms of its encoder; Palestrina's, which reserve all rights, are left out.
"""

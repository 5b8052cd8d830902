"""List the works that the choir sings, for training and for the test.

They are works in music21's corpus with four or five parts in the range of voices and without chords: Bach's chorales and
other choruses, and Monteverdi's third and fourth books of madrigals. Works that another test plays are left out, with every
other setting of their melodies (`scores.tested_works`). The pretrained body was not trained on any test work; it used them
for validation at most (`ensembles.is_for`). Training works share neither a melody nor a title with a test work.
Palestrina's masses are left out because of their licence.
"""

from __future__ import annotations

from pathlib import Path

BACH_TRAIN = """
    bwv101.7 bwv102.7 bwv104.6 bwv108.6 bwv112.5 bwv113.8 bwv116.6 bwv117.4 bwv119.9 bwv120.6 bwv121.6 bwv122.6
    bwv123.6 bwv125.6 bwv126.6 bwv127.5 bwv135.6 bwv139.6 bwv140.7 bwv144.3 bwv148.6 bwv151.5 bwv153.1 bwv153.5
    bwv153.9 bwv154.8 bwv155.5 bwv156.6 bwv157.5 bwv158.4 bwv162.6-lpz bwv164.6 bwv165.6 bwv168.6 bwv176.6 bwv177.4
    bwv177.5 bwv18.5-lz bwv18.5-w bwv180.7 bwv187.7 bwv188.6 bwv190.7 bwv194.12 bwv194.6 bwv197.7-a bwv2.6 bwv20.11
    bwv20.7 bwv226.2 bwv229.2 bwv244.15 bwv244.17 bwv244.29-a bwv244.3 bwv244.32 bwv244.44 bwv244.46 bwv244.54
    bwv244.62 bwv245.17 bwv245.22 bwv245.26 bwv245.3 bwv245.5 bwv248.23-s bwv248.28 bwv248.33-3 bwv248.42-s
    bwv248.46-5 bwv248.5 bwv248.53-5 bwv248.64-s bwv25.6 bwv254 bwv259 bwv26.6 bwv260 bwv261 bwv263 bwv264 bwv265
    bwv266 bwv267 bwv269 bwv270 bwv271 bwv272 bwv273 bwv276 bwv277 bwv278 bwv279 bwv280 bwv284 bwv285 bwv286 bwv287
    bwv288 bwv289 bwv290 bwv292 bwv294 bwv295 bwv298 bwv299 bwv3.6 bwv30.6 bwv300 bwv301 bwv302 bwv303 bwv304 bwv305
    bwv307 bwv308 bwv311 bwv312 bwv313 bwv314 bwv315 bwv316 bwv317 bwv319 bwv32.6 bwv320 bwv321 bwv322 bwv323 bwv329
    bwv33.6 bwv332 bwv333 bwv334 bwv335 bwv336 bwv337 bwv338 bwv339 bwv341 bwv342 bwv343 bwv344 bwv345 bwv346 bwv347
    bwv348 bwv349 bwv350 bwv352 bwv353 bwv354 bwv355 bwv356 bwv357 bwv36.4-2 bwv362 bwv366 bwv367 bwv368 bwv369
    bwv37.6 bwv370 bwv371 bwv372 bwv373 bwv374 bwv375 bwv376 bwv377 bwv38.6 bwv381 bwv382 bwv383 bwv386 bwv387
    bwv388 bwv39.7 bwv391 bwv394 bwv396 bwv397 bwv4.8 bwv40.6 bwv40.8 bwv401 bwv403 bwv405 bwv406 bwv407 bwv409
    bwv410 bwv411 bwv412 bwv413 bwv415 bwv416 bwv417 bwv418 bwv419 bwv42.7 bwv422 bwv423 bwv425 bwv426 bwv427 bwv428
    bwv429 bwv43.11 bwv430 bwv431 bwv432 bwv433 bwv436 bwv437 bwv46.6 bwv48.7 bwv5.7 bwv56.5 bwv57.8 bwv6.6 bwv60.5
    bwv64.2 bwv64.4 bwv65.2 bwv66.6 bwv67.7 bwv69.6-a bwv7.7 bwv70.7 bwv73.5 bwv74.8 bwv77.6 bwv78.7 bwv80.8 bwv83.5
    bwv86.6 bwv89.6 bwv9.7 bwv90.5 bwv93.7 bwv94.8 bwv96.6 bwv99.6
""".split()
MONTEVERDI_TRAIN = """
    madrigal.3.1 madrigal.3.10 madrigal.3.13 madrigal.3.14 madrigal.3.15 madrigal.3.16 madrigal.3.17 madrigal.3.18
    madrigal.3.19 madrigal.3.2 madrigal.3.20 madrigal.3.3 madrigal.3.4 madrigal.3.5 madrigal.3.6 madrigal.3.7
    madrigal.3.8 madrigal.3.9 madrigal.4.1 madrigal.4.10 madrigal.4.11 madrigal.4.12 madrigal.4.13 madrigal.4.14
    madrigal.4.15 madrigal.4.16 madrigal.4.17 madrigal.4.18 madrigal.4.19 madrigal.4.2 madrigal.4.3 madrigal.4.4
    madrigal.4.5 madrigal.4.7 madrigal.4.8 madrigal.4.9
""".split()
BACH_TEST = """
    bwv10.7 bwv111.6 bwv145.5 bwv146.8 bwv16.6 bwv179.6 bwv227.11 bwv244.10 bwv244.25 bwv245.14 bwv245.40
    bwv248.12-2 bwv248.35-3 bwv283 bwv325 bwv359 bwv378 bwv390 bwv399 bwv400 bwv402 bwv421 bwv435 bwv72.6
""".split()
MONTEVERDI_TEST = """
    madrigal.3.11 madrigal.4.20 madrigal.4.6
""".split()
TRAIN = (*(f"bach/{work}" for work in BACH_TRAIN), *(f"monteverdi/{work}" for work in MONTEVERDI_TRAIN))
TEST = (*(f"bach/{work}" for work in BACH_TEST), *(f"monteverdi/{work}" for work in MONTEVERDI_TEST))


def work_file(name: str) -> Path:
    """Return the file of a work in music21's corpus, 'bach/bwv253' for example."""
    from music21 import common

    path = Path(common.getCorpusFilePath()) / name
    return next(file for suffix in (".mxl", ".xml") if (file := path.with_name(path.name + suffix)).exists())

"""Test the synthetic players and singers, and their corpus: pitches, harmonics, lengths and formants."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import soundfile

from nussl_transfer.errors import ConfigError
from nussl_transfer.store import Store
from recipes.corpora import choirset, players
from recipes.corpora.bands import band, notes_array
from recipes.corpora.players import KINDS, Kind, add_played_quartets, draw_kind, draw_player, play_line
from recipes.corpora.programs import FAMILIES, family_of
from recipes.corpora.quartets import Quartet
from recipes.corpora.rendering import Piece
from recipes.corpora.singers import SOUNDS, Syllable, draw_syllables, draw_throat, sing_syllables
from recipes.corpora.source_filter import HIGHEST, RATE, filtered_sum, frame_times, pulses, spectrum_of
from recipes.corpora.synthetic import PLAYED, draw_labels, render_piece, render_synthetic, top_line

PLAIN = Kind(odd=(0, 0), tilt=(0.0, 0.0), low_cut=(1, 1), ripple=(0, 0), vibrato=(0, 0), noise=(-90, -90),
             attack=(0.01, 0.01), glide=(0.01, 0.01))  # fmt: skip


def line(*pitches: float, seconds: float = 1.0) -> np.ndarray:
    """Return notes of one length, one after the other, that begin after 0.1 s."""
    start = 0.1 + seconds * np.arange(len(pitches))
    return np.column_stack([start, start + seconds - 0.02, pitches, np.full(len(pitches), 90.0)])


def hertz_of(pitch: float) -> float:
    """Return the frequency of a MIDI pitch."""
    return 440 * 2 ** ((pitch - 69) / 12)


def levels(audio: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """Return the strongest level of a spectrum within 3 % of each frequency."""
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    bins = np.fft.rfftfreq(len(audio), 1 / RATE)
    return np.array([spectrum[np.abs(bins - value) <= 0.03 * value].max() for value in hertz])


def test_pulses_are_the_sum_of_all_harmonics():
    hertz = np.linspace(180, 185, RATE // 4)
    phase = 2 * np.pi * np.cumsum(hertz / RATE)
    count = np.floor(HIGHEST / hertz)
    expected = sum(np.where(k <= count, np.cos(k * phase), 0.0) for k in range(1, 60)) / np.sqrt(count / 2)
    np.testing.assert_allclose(pulses(hertz), expected, atol=1e-6)


def test_a_filter_of_gain_one_returns_the_source_and_a_silent_source_leaves_the_noise():
    frames, rng = 8000, np.random.default_rng(0)
    audio = rng.normal(0, 1, frames)
    ones = np.ones((len(frame_times(frames)), 257))
    same = filtered_sum(spectrum_of(audio), ones, 0 * ones, rng, frames)
    assert np.corrcoef(same, audio)[0, 1] > 0.9999 and np.sqrt(np.square(same).mean()) == pytest.approx(1)
    noise = filtered_sum(spectrum_of(0 * audio), ones, ones, rng, frames)
    power = scipy.signal.welch(noise, RATE, nperseg=256)[1][2:-2]
    assert power.max() / power.min() < 6  # white


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_player_plays_the_written_pitches(kind):
    pitches = {"violin": (62, 74), "clarinet": (55, 67), "saxophone": (53, 65), "bassoon": (40, 55)}[kind]
    for seed in range(4):
        rng = np.random.default_rng(seed)
        audio = play_line(line(*pitches), draw_player(KINDS[kind], rng), 2.5, rng)
        assert audio.shape == (round(2.5 * RATE),) and audio.dtype == np.float32 and np.isfinite(audio).all()
        assert np.abs(audio[: RATE // 20]).max() < 0.2 * np.abs(audio).max()  # silent before the first note
        for number, pitch in enumerate(pitches):
            middle = audio[round((0.4 + number) * RATE) : round((0.9 + number) * RATE)]
            f = hertz_of(pitch)
            harmonics = levels(middle, f * np.array([1, 3, 5]))
            between = levels(middle, f * np.array([1.5, 3.5, 5.5]))
            assert harmonics.max() > 8 * between.max()
            # The period is that of the pitch: audio repeats after it better than after two thirds of it.
            wave = middle - middle.mean()
            assert np.corrcoef(wave[: -round(RATE / f)], wave[round(RATE / f) :])[0, 1] > 0.5


def test_a_clarinet_lacks_even_harmonics_and_a_saxophone_does_not():
    odd, even = np.array([1, 3, 5]), np.array([2, 4, 6])
    ratios = {}
    for kind in ("clarinet", "saxophone"):
        found = []
        for seed in range(6):
            rng = np.random.default_rng(seed)
            audio = play_line(line(55, seconds=1.5), draw_player(KINDS[kind], rng), 2.0, rng)[RATE // 2 : RATE * 3 // 2]
            found.append(np.log10(levels(audio, hertz_of(55) * odd) / levels(audio, hertz_of(55) * even)).mean())
        ratios[kind] = 20 * np.median(found)
    assert ratios["clarinet"] > 8 and ratios["saxophone"] < 6


def test_a_louder_note_is_brighter():
    player = draw_player(PLAIN, np.random.default_rng(0))
    player = players.Player(**{**vars(player), "tilt": 6.0, "corner": 300.0, "brightness": 2.0, "swell": 0.0})
    notes = line(57, 57)
    notes[1, 3] = 30
    audio = play_line(notes, player, 2.5, np.random.default_rng(1))
    low_high = [levels(audio[a : a + RATE // 2], hertz_of(57) * np.array([1, 10])) for a in (RATE // 2, RATE * 3 // 2)]
    assert low_high[0][1] / low_high[0][0] > 1.5 * low_high[1][1] / low_high[1][0]


def test_unknown_instruments_differ_and_the_same_seed_gives_the_same_sound():
    def made(seed):
        rng = np.random.default_rng(seed)
        return play_line(line(60, 64, 67), draw_player(draw_kind(rng), rng), 3.5, rng)

    np.testing.assert_array_equal(made(3), made(3))
    assert np.corrcoef(made(3), made(4))[0, 1] < 0.9


def test_added_quartets_have_four_equally_long_stems_and_are_not_made_twice(tmp_path, monkeypatch):
    parts = tuple(np.array([[i, 1, pitch, 0] for i in range(4)], dtype=np.float32) for pitch in (74, 67, 60, 48))
    monkeypatch.setattr(players, "plan", lambda works, tracks, seed, fonts, tree: [Quartet("bwv1", parts, (0, 0), "", "")])
    assert add_played_quartets(tmp_path, tmp_path, tracks=1) == 1
    folder = tmp_path / "bwv1-played"
    stems = {path.stem: soundfile.read(path) for path in folder.iterdir()}
    assert set(stems) == {"violin", "clarinet", "saxophone", "bassoon"}
    assert len({len(audio) for audio, _ in stems.values()}) == 1 and {rate for _, rate in stems.values()} == {RATE}
    assert all(0.01 < np.abs(audio).max() < 1 for audio, _ in stems.values())
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    add_played_quartets(tmp_path, tmp_path, tracks=1)
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("voice", "SATB")
def test_a_singer_sings_the_written_pitch_with_the_formants_of_the_vowel(voice):
    pitch = {"S": 70, "A": 63, "T": 55, "B": 45}[voice]
    seconds = 2.0
    notes = line(pitch, seconds=seconds)
    strengths = {}
    for vowel, weights in {"i": (0, 0, 1.0, 0, 0), "o": (0, 0, 0, 1.0, 0)}.items():
        text = [Syllable(0.1, weights, "none", "", 0.0)]
        power = []
        for seed in range(5):
            rng = np.random.default_rng(seed)
            audio = sing_syllables(notes, text, draw_throat(voice, rng), seconds + 0.5, rng)
            assert audio.shape == (round((seconds + 0.5) * RATE),) and np.isfinite(audio).all()
            middle = audio[RATE // 2 : RATE * 3 // 2]
            first, second, between = levels(middle, hertz_of(pitch) * np.array([1, 2, 1.5]))
            assert max(first, second) > 4 * between
            spectrum = np.square(np.abs(np.fft.rfft(middle)))
            hertz = np.fft.rfftfreq(len(middle), 1 / RATE)
            power.append(spectrum[(hertz > 1600) & (hertz < 2600)].sum() / spectrum.sum())
        strengths[vowel] = np.median(power)
    assert strengths["i"] > 2 * strengths["o"]  # the second formant of i lies near 2 kHz


def test_a_hiss_interrupts_the_voice_and_lies_high():
    hissed = [Syllable(0.1, (1.0, 0, 0, 0, 0), "none", "", 0.0), Syllable(1.1, (1.0, 0, 0, 0, 0), "hiss", "s", 0.12)]
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        audio = sing_syllables(line(60, 60), hissed, draw_throat("A", rng), 2.5, rng)
        parts = audio[round(1.0 * RATE) : round(1.08 * RATE)], audio[round(0.5 * RATE) : round(0.58 * RATE)]
        found.append([low_share(part) for part in parts])
    hiss, vowel = np.median(found, axis=0)
    assert hiss < 0.5 < vowel


def low_share(audio: np.ndarray) -> float:
    """Return the share of the power below 2 kHz."""
    power = np.square(np.abs(np.fft.rfft(audio * np.hanning(len(audio)))))
    return float(power[np.fft.rfftfreq(len(audio), 1 / RATE) < 2000].sum() / power.sum())


def test_syllables_are_in_order_and_some_hold_the_vowel_before():
    starts = np.arange(200) * 0.5
    syllables = draw_syllables(starts, np.random.default_rng(0), words=0.7)
    assert [syllable.start for syllable in syllables] == starts.tolist()
    assert all(sum(syllable.vowel) == pytest.approx(1) and syllable.sound in SOUNDS for syllable in syllables)
    held = sum(after.vowel == before.vowel for before, after in zip(syllables, syllables[1:], strict=False))
    assert 35 <= held <= 85


def test_a_section_sings_as_long_as_asked_at_the_rate_of_the_choir():
    part = np.array([[0, 1, 60, 0], [1, 1, 62, 0]], dtype=np.float32)
    notes = np.array([[0.2, 0.9, 60, 90], [1.0, 1.8, 62, 90]])
    syllables = draw_syllables(part[:, 0], np.random.default_rng(0))
    audio = choirset.sing_section(notes, part, "A", syllables, 2.3, np.random.default_rng(1))
    assert len(audio) == round(2.3 * choirset.CHOIR_RATE) and audio.dtype == np.float32
    quiet = np.square(audio[: round(0.05 * choirset.CHOIR_RATE)]).mean()
    assert quiet < 0.05 * np.square(audio).mean()


def test_a_chord_leaves_its_highest_note_and_no_two_notes_overlap():
    part = notes_array([(0, 2, 60), (0, 2, 67), (1, 1, 64), (2, 1, 65), (2, 1, 60)])
    line = top_line(part)
    assert line[:, 2].tolist() == [67, 64, 65] and line[:, 1].tolist() == [1, 1, 1]


def test_the_parts_of_a_piece_have_different_labels_of_known_families():
    rng = np.random.default_rng(0)
    for number in (2, 3, 4, 6):
        drawn = [draw_labels([f"part{i}" for i in range(number)], rng) for _ in range(60)]
        assert all(len(set(labels.values())) == len(labels) for labels in drawn)
        assert {family_of(label) for labels in drawn for label in labels.values()} <= set(FAMILIES)
        if number == 4:
            assert any(list(labels.values()) == list(PLAYED) for labels in drawn)  # a quartet, from the top part down


def test_a_synthetic_piece_has_equally_long_stems_and_no_drums():
    for seed in range(3):
        parts = band(np.random.default_rng(seed), 4, None)
        stems = render_piece(Piece("piece", "train", (0, seed), "band", parts, ()))
        assert len({len(audio) for audio in stems.values()}) == 1
        assert not any(label.startswith("drums") for label in stems)
        assert all(0.01 < np.abs(audio).max() < 1 for audio in stems.values())
    drums = {"drums": parts["drums"]} if "drums" in parts else {}
    assert render_piece(Piece("piece", "train", (0, 0), "band", drums, ())) == {}


def test_the_synthetic_corpus_is_a_store_with_both_splits(material, tmp_path):
    store = Store(render_synthetic(tmp_path / "store", hours=0.03, seed=3))
    assert {track.split for track in store.tracks} == {"train", "valid"} and store.sample_rate == RATE
    with pytest.raises(ConfigError, match="other options"):
        render_synthetic(tmp_path / "store", hours=0.03, seed=4)


def test_takes_with_synthetic_singers_are_for_training_only_and_leave_the_plan_unchanged(tmp_path, monkeypatch):
    part = notes_array([(i, 1.0, 60) for i in range(8)])
    four = [part + np.array([0, 0, up, 0], dtype=np.float32) for up in (12, 5, 0, -12)]
    monkeypatch.setattr(choirset, "works_in_order", lambda names, cache, seed, workers: iter([(w, four) for w in names]))
    plain, mixed = (list(choirset.plan_takes(tmp_path, 12, None, 0, ("font",), tmp_path, 1, share)) for share in (0.0, 1.0))
    assert [take.work for take in plain] == [take.work for take in mixed] and not any(take.synthetic for take in plain)
    assert all(take.synthetic == ("_LI_" in take.name) for take in mixed)
    with pytest.raises(ConfigError, match="a share from 0 to 1"):
        choirset.render_choirset(tmp_path / "out", tracks=2, synthetic=1.5)

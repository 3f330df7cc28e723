"""On real telescope images the known change is found, and nothing else is called clean."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.images.differencing import difference
from astrid.images.forced import forced_photometry
from astrid.images.reading import read_frame

pytestmark = pytest.mark.real_data

TRANSIENT = (129.0, 127.7)  # px, 0-based: from the upstream authors' own difference
EVENT = (271.5, 225.7)  # px of frame 172


def unflagged(result):
    return result.candidates[np.asarray(result.candidates["flags"]) == ""]


# A median of five exposures has the noise of 5 x 0.697 of them; the header's gain is that of one, 3.98.
@pytest.mark.parametrize(
    ("science", "reference", "facts", "least"),
    [
        ("DEC-OBS04a.mini", "DEC-OBS18a.mini", {}, 13),
        ("DEC-OBS04b.mini", "DEC-OBS18b.mini", {}, 13),
        ("Stack-DEC-OBS04", "Stack-DEC-OBS18", {"gain": 13.9}, 28),
    ],
)
def test_the_transient_in_the_decam_pair_is_the_only_clean_candidate(
    real_data, science, reference, facts, least
):
    folder = real_data / "images" / "decam_pair"
    frames = [read_frame(folder / f"{name}.fits.gz", overrides=facts) for name in (science, reference)]
    result = difference(*frames)
    found = unflagged(result)
    assert len(found) == 1
    assert np.hypot(found["x"][0] - TRANSIENT[0], found["y"][0] - TRANSIENT[1]) < 1.5
    assert found["snr"][0] >= least
    assert result.significance_sigma == pytest.approx(1, abs=0.12)


def test_two_consecutive_exposures_differ_in_nothing(real_data):
    folder = real_data / "images" / "eso085_pair"
    # The headers have no gain; half the variance of the two frames' difference gives this one.
    facts = {"gain": 1.5, "saturation": 60_000.0}
    frames = [read_frame(folder / f"aligned_eso085-030-00{i}.fit.gz", overrides=facts) for i in (4, 5)]
    result = difference(*frames)
    assert len(unflagged(result)) == 0
    assert result.registration_method == "stars"
    assert result.method == "zogy"
    assert result.flux_ratio == pytest.approx(1, abs=0.05)


def test_a_microlensing_event_is_seen_at_its_peak_and_not_after_the_caustic_exit(real_data):
    folder = real_data / "images" / "microlensing_series"
    frames = [
        read_frame(folder / f"AKB13475I{number}.fits.gz") for number in ("0100", "0103", "0158", "0180")
    ]
    table = forced_photometry(frames, read_frame(folder / "AKB13475I0172.fits.gz"), at=EVENT)
    snr, flux = np.asarray(table["snr"], float), np.asarray(table["flux"], float)
    assert snr[:2].max() >= 170
    assert (np.abs(snr[2:]) <= 5).all()
    # the two peak frames are half an hour apart, the other two show none of it
    assert flux[1] == pytest.approx(flux[0], rel=0.25)
    assert (np.abs(flux[2:]) < 0.02 * flux[0]).all()
    assert (np.asarray(table["registration_rms_px"], float) < 0.2).all()
    assert not any(table["reason"])

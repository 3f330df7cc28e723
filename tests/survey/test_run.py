"""A run's products: all of them or none, readable by others, and saying what made them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import subprocess
import sys

import fastavro
import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table

from astrid.errors import DataError, OutputError
from astrid.files.directory import check_space, product_directory
from astrid.survey import PRODUCTS, FrameFile, difference_files

TIMED = {"report.html", "run.json"}  # they tell how long the run took


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_every_product_is_there_and_nothing_else(run):
    assert {path.name for path in run.out.iterdir()} == set(PRODUCTS)
    assert hidden(run.out.parent) == []


def test_images_are_fits_on_the_science_grid(run):
    for name, plane in (("difference", run.result.difference), ("significance", run.result.significance)):
        with fits.open(run.out / f"{name}.fits") as hdus:
            np.testing.assert_array_equal(hdus[0].data, plane)
            assert hdus[0].header["CTYPE1"] == "RA---TAN"
    mask, header = fits.getdata(run.out / "mask.fits", header=True)
    np.testing.assert_array_equal(mask, run.result.mask)
    assert header["BIT1"] == "SATURATED"


def test_parquet_and_ecsv_hold_the_same_candidates(run):
    rows = pq.read_table(run.out / "candidates.parquet")
    text = Table.read(run.out / "candidates.ecsv")
    wanted = run.result.candidates
    assert rows.column_names == text.colnames == wanted.colnames
    assert len(rows) == len(text) == len(wanted) > 0
    for name in wanted.colnames:
        column = np.ma.asarray(wanted[name])
        if column.dtype.kind in "US":
            assert rows[name].to_pylist() == list(column)
            assert list(np.ma.filled(np.ma.asarray(text[name]), "")) == list(column)
            continue
        for values in (np.array(rows[name].to_pylist(), float), np.ma.asarray(text[name], float)):
            np.testing.assert_allclose(
                np.ma.filled(values, np.nan), np.ma.filled(column.astype(float), np.nan)
            )
    assert text["flux"].unit == wanted["flux"].unit
    assert rows.schema.field("flux").metadata[b"unit"] == str(wanted["flux"].unit).encode()


def test_triplets_open_without_pickle(run):
    with np.load(run.out / "triplets.npz", allow_pickle=False) as arrays:
        n = len(run.result.candidates)
        for name in ("science", "reference", "difference"):
            assert arrays[name].shape == (n, 63, 63)
            assert arrays[name].dtype == np.float32
        np.testing.assert_array_equal(arrays["id"], run.result.candidates["id"])


def test_alert_packets_hold_the_exposure_and_the_hashes(run):
    with (run.out / "alerts.avro").open("rb") as file:
        packets = list(fastavro.reader(file))
    assert len(packets) == len(run.result.candidates)
    record = packets[0]["candidate"]
    assert record["filter"] == "r"
    assert record["mjd"] == pytest.approx(run.files.pair.science.mjd, abs=1e-6)
    assert record["science_sha256"] == hashlib.sha256(run.files.science.read_bytes()).hexdigest()


def avro_header(path):
    with path.open("rb") as file:
        return fastavro.reader(file).metadata


def test_every_product_says_what_made_it(run):
    digest = hashlib.sha256(run.files.science.read_bytes()).hexdigest()
    command = "astrid images difference"
    for name in ("difference", "significance", "mask"):
        header = fits.getheader(run.out / f"{name}.fits")
        history = "".join(str(line) for line in header["HISTORY"])
        assert header["SCISHA"] == digest
        assert command in history
        assert '"threshold": 5.0' in history
    documents = [
        json.loads(pq.read_schema(run.out / "candidates.parquet").metadata[b"astrid"]),
        Table.read(run.out / "candidates.ecsv").meta["astrid"],
        json.loads((run.out / "run.json").read_text())["provenance"],
        json.loads(str(np.load(run.out / "triplets.npz")["provenance"])),
        json.loads(avro_header(run.out / "alerts.avro")["astrid"]),
    ]
    for document in documents:
        assert document["command"].startswith(command)
        assert document["inputs"]["science"]["sha256"] == digest
        assert document["configuration"]["threshold"] == 5.0
        assert document["software"].startswith("AstrID ")
    page = (run.out / "report.html").read_text()
    assert digest in page
    assert command in page


def test_run_json_knows_the_hash_of_each_product(run):
    document = json.loads((run.out / "run.json").read_text())
    assert set(document["products"]) == set(PRODUCTS) - {"run.json"}
    for name, product in document["products"].items():
        assert product["sha256"] == hashlib.sha256((run.out / name).read_bytes()).hexdigest()
    for key in ("method", "n_candidates", "registration_rms_px", "flux_ratio", "significance_sigma",
                "limiting_mag_5sigma", "seconds", "peak_memory_mb", "warnings"):  # fmt: skip
        assert key in document


def test_the_same_run_gives_the_same_bytes(run, tmp_path):
    difference_files(
        run.files.science, run.files.reference, tmp_path / "again", model=None, avro=True,
        command="astrid images difference science_0.fits reference_0.fits --avro",
    )  # fmt: skip
    for name in set(PRODUCTS) - TIMED:
        assert (tmp_path / "again" / name).read_bytes() == (run.out / name).read_bytes(), name


@pytest.mark.parametrize("stage", ["reading", "subtract", "writing the products"])
def test_an_interrupted_run_leaves_nothing(files, tmp_path, stage):
    def interrupt(name):
        if name == stage:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        difference_files(files.science, files.reference, tmp_path / "a" / "b" / "run", on_stage=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_leaves_the_former_one_as_it_was(run, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(run.out, out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    broken = tmp_path / "broken.fits"
    broken.write_bytes(b"nothing")
    with pytest.raises(DataError):
        difference_files(broken, run.files.reference, out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_run_replaces_the_former_one_completely(tmp_path):
    allowed = ("a", "b", "run.json")
    for contents in (("a", "b", "run.json"), ("a", "run.json")):
        with product_directory(tmp_path / "out", names=allowed) as staging:
            for name in contents:
                (staging / name).write_text("-".join(contents))
    assert names(tmp_path / "out") == ["a", "run.json"]
    assert (tmp_path / "out" / "a").read_text() == "a-run.json"
    assert hidden(tmp_path / "out") == []


def test_the_file_that_vouches_for_the_run_goes_first_and_comes_last(tmp_path, monkeypatch):
    out = tmp_path / "out"
    out.mkdir()
    for name in ("a", "run.json"):
        (out / name).write_text("old")

    def full(self, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    def write():
        with product_directory(out, names=("a", "run.json")) as staging:
            for name in ("a", "run.json"):
                (staging / name).write_text("new")
            monkeypatch.setattr(type(out), "replace", full)

    with pytest.raises(OutputError, match="disk is full"):
        write()
    assert names(out) == ["a"]  # incomplete, and it can be seen


def test_files_of_others_are_refused_or_left_alone(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("dear reader")
    with (
        pytest.raises(OutputError, match=r"thesis\.tex.*--overwrite"),
        product_directory(out, names=("run.json",)),
    ):
        pytest.fail("the work must not begin")
    with product_directory(out, names=("run.json",), overwrite=True) as staging:
        (staging / "run.json").write_text("{}")
    assert names(out) == ["run.json", "thesis.tex"]
    assert (out / "thesis.tex").read_text() == "dear reader"


def test_files_that_belong_beside_the_products_are_no_obstacle(tmp_path):
    (tmp_path / "out" / "field").mkdir(parents=True)
    for _ in range(2):
        with product_directory(tmp_path / "out", names=("run.json",), beside=("field",)) as staging:
            (staging / "run.json").write_text("{}")
    assert names(tmp_path / "out") == ["field", "run.json"]


@pytest.mark.parametrize("kind", ["is a file", "below a file", "no such device"])
def test_an_output_that_cannot_be_is_refused_before_the_work(files, tmp_path, kind):
    blocker = tmp_path / "file"
    blocker.write_text("here first")
    out = {"is a file": blocker, "below a file": blocker / "run", "no such device": "/proc/none/run"}[kind]
    if str(out).startswith("/proc") and not os.path.isdir("/proc/self"):  # noqa: PTH112  (not a Path)
        pytest.skip("this system has no /proc")
    with pytest.raises(OutputError, match="choose another --out") as problem:
        difference_files(files.science, files.reference, out, on_stage=lambda stage: pytest.fail(stage))
    assert "\n" not in str(problem.value)
    assert names(tmp_path) == ["file"]


def test_what_a_killed_run_left_is_cleared(tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True, text=True
    )
    with product_directory(tmp_path / "out", names=("run.json",)) as staging:
        mine = staging.name
        dead = staging.with_name(mine.replace(str(os.getpid()), child.stdout.strip()))
        dead.mkdir()
        (dead / "half.fits").write_text("half")
        (staging / "run.json").write_text("{}")
    with product_directory(tmp_path / "out2", names=("run.json",)):
        pass
    with product_directory(tmp_path / "out", names=("run.json",)) as staging:
        (staging / "run.json").write_text("{}")
    shutil.rmtree(tmp_path / "out")
    with product_directory(tmp_path / "out", names=("run.json",)) as staging:
        (staging / "run.json").write_text("{}")
    assert names(tmp_path) == ["out", "out2"]


def test_too_little_space_is_found_before_the_work(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(OutputError, match="MB are free"):
        check_space(tmp_path, free * 2, tmp_path / "run")
    check_space(tmp_path, 0, tmp_path / "run")


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[4]), int(sys.argv[4])))
from astrid.survey import difference_files
from astrid.errors import OutputError
try:
    difference_files(*sys.argv[1:4], avro=True)
except OutputError as error:
    print(error)
    sys.exit(1)
"""


@pytest.mark.parametrize("size", [100_000, 300_000])
def test_a_file_that_cannot_be_completed_leaves_nothing(files, tmp_path, size):
    pytest.importorskip("resource")
    out = tmp_path / "run"
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, files.science, files.reference, out, str(size)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "cannot be written" in done.stdout
    assert done.stdout.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 1 MB, where this user may mount one."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.name != "posix" or shutil.which("mount") is None:
        pytest.skip("no mount on this system")
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip("this user may not mount a file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(files, full_disk, monkeypatch):
    with pytest.raises(OutputError, match="free some space"):
        difference_files(files.science, files.reference, full_disk / "run")
    assert list(full_disk.iterdir()) == []
    monkeypatch.setattr("astrid.survey.run.bytes_needed", lambda shape: 0)  # let it fill up while writing
    with pytest.raises(OutputError, match="the disk is full; free some space"):
        difference_files(files.science, files.reference, full_disk / "run")
    assert list(full_disk.iterdir()) == []


def test_facts_given_by_hand_reach_the_frame_and_the_record(files, tmp_path):
    file = FrameFile(files.science, overrides={"gain": 2.5, "filter": "i"})
    assert file.read().gain == 2.5
    assert file.record()["given"] == {"filter": "i", "gain": 2.5}


def test_a_run_shows_no_magnitude_without_a_zero_point(files, tmp_path):
    copy = tmp_path / "science.fits"
    shutil.copy(files.science, copy)
    with fits.open(copy, mode="update") as hdus:
        del hdus[0].header["MAGZP"]
    summary, result = difference_files(copy, files.reference, tmp_path / "run")
    assert summary.limiting_mag_5sigma is None
    assert summary.as_dict()["limiting_flux_5sigma"] > 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["limiting_mag_5sigma"] is None
    mags = pq.read_table(tmp_path / "run" / "candidates.parquet")["mag"].to_pylist()
    assert mags == [None] * len(result.candidates)
    assert "no zero point" in (tmp_path / "run" / "report.html").read_text()

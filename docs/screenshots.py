"""Pictures of the pages of the service: ``python docs/screenshots.py [--all FOLDER] PACKETS...``.

Run by hand when the pages have changed; needs chromium, and alert packets to show. Some are committed in
``_static/review``, few and with few colours; with --all, every page at every width, light and dark, goes to a
folder to be looked at instead.
"""

from __future__ import annotations

import argparse
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from astrid.review.labelling import answer
from astrid.review.profiles import Profile, save
from astrid.review.queue import build
from astrid.service.passwords import hash_password
from astrid.store import open_store
from astrid.stream.ingest import ingest
from astrid.stream.scores import Scorer
from astrid.stream.source import FileSource

STATIC = Path(__file__).resolve().parent / "_static" / "review"
SIZES = {1440: 900, 1024: 768, 390: 844}
COLOURS = 160
PASSWORD = "a password for pictures"  # noqa: S105

# name, path, keys pressed before the picture
PAGES = {
    "dashboard": ("/review", ""),
    "scan": ("/review/scan", ""),
    "opinion": ("/review/scan", "m e"),
    "keys": ("/review/scan", "?"),
    "gallery": ("/review/gallery", "Space ArrowRight ArrowRight Space r ArrowRight Space"),
    "queue": ("/review/queue?sql=magpsf < 20&order=snr&descending=true&columns=snr age ztf_drb", ""),
    "object": ("/review/object?survey=ztf&object={object}", ""),
    "account": ("/account", ""),
    "admin": ("/admin", ""),
    "login": ("/login", ""),
}

# what is committed: each page at each width, in one of the two colour schemes
COMMITTED = {
    **{(name, 1440): "light" for name in PAGES},
    **{(name, 1024): "dark" for name in PAGES},
    **{(name, 390): "light" for name in PAGES},
    ("scan", 1440): "dark",
    ("opinion", 1024): "light",
    ("dashboard", 390): "dark",
}
LEFT_OUT = {("keys", 1024), ("keys", 390), ("opinion", 390), ("login", 1024), ("login", 390)}


def fill(folder: Path, packets: list[Path]) -> str:
    """A store with alerts, a queue, people and their answers; the object with the longest light curve."""
    chance = random.Random(3)  # noqa: S311
    with open_store(folder) as store:
        ingest(FileSource(packets), store, Scorer(["braai.real1", "braai.sim1"]), size=64)
        build(store, "braai", n=200, seed=1, blind_share=0.1)
        for name, role in (("ada", "admin"), ("ben", "labeller"), ("cleo", "labeller"), ("vera", "viewer")):
            store.accounts.add_user(name, role, hash_password(PASSWORD, name), by="ada")
        for item in store.labels.queue("braai", 80):
            table = store.scores(item.survey, item.alert_id, bundle="braai.real1")
            score = (table["value"].to_pylist() or [None])[0] or 0.0
            for name in ("ada", "ben", "cleo"):
                if chance.random() < 0.55:
                    real = (score > 0.5) != (chance.random() < 0.1)
                    unsure = chance.random() < 0.06
                    answer(
                        store, "braai", name, item.item, key=f"{name}-{item.survey}-{item.alert_id}",
                        answer="unsure" if unsure else "label",
                        label=None if unsure else "real" if real else "bogus",
                        seconds=0.8 + chance.expovariate(0.4),
                        tags=() if real else ("ghost",)[: chance.randrange(2)],
                        note="beside a bright star" if chance.random() < 0.1 else "",
                    )  # fmt: skip
        save(store, "ada", Profile(name="bright", sql="magpsf < 18", order="magpsf"))
        save(store, "ada", Profile(name="young", sql="age < 10", order="queue_value", descending=True))
        rows = [
            row
            for table in store.history(columns=["survey", "object_id", "n_detections"])
            for row in table.to_pylist()
        ]
        ztf = [row for row in rows if row["survey"] == "ztf" and row["object_id"]]
        return max(ztf, key=lambda row: row["n_detections"] or 0)["object_id"]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of the service, while it runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = "from astrid.cli.main import main; main()"
    command = [sys.executable, "-c", program, "serve", "--store", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:  # noqa: S603
        try:
            address = f"http://127.0.0.1:{port}"
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"{address}/health")  # noqa: S310
                    break
                except urllib.error.URLError:
                    time.sleep(0.2)
            yield address
        finally:
            process.terminate()


def picture(
    browser: Browser, address: str, name: str, width: int, scheme: str, shown: str, known: Any
) -> bytes:
    """A page as somebody sees it who has just logged in."""
    path, keys = PAGES[name]
    size = {"width": width, "height": SIZES[width]}
    # whoever is logged in is not shown the page to do so
    context = browser.new_context(
        viewport=size, color_scheme=scheme, storage_state=None if name == "login" else known
    )
    page = context.new_page()
    page.goto(address + path.replace("{object}", shown))
    page.wait_for_timeout(2500)
    for key in keys.split():
        page.keyboard.press(key)
        page.wait_for_timeout(4000 if key == "e" else 150)
    wide = page.evaluate("document.documentElement.scrollWidth")
    if wide > width:
        print(f"{name} is {wide} px wide at {width} px")
    content = page.screenshot()
    context.close()
    return content


def log_in(browser: Browser, address: str) -> Any:
    """What a browser has in which somebody is logged in."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{address}/login")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url("**/review")
    known = context.storage_state()
    context.close()
    return known


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packets", nargs="+", type=Path)
    parser.add_argument("--all", type=Path, dest="folder")
    parser.add_argument("--only", nargs="*", default=list(PAGES))
    given = parser.parse_args()
    wanted = [
        (name, width, scheme)
        for name in given.only
        for width in SIZES
        for scheme in ("light", "dark")
        if given.folder or (COMMITTED[name, width] == scheme and (name, width) not in LEFT_OUT)
    ]
    out = given.folder or STATIC
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        shown = fill(Path(folder) / "store", given.packets)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        with served(Path(folder) / "store") as address:
            known = log_in(browser, address)
            for name, width, scheme in wanted:
                content = picture(browser, address, name, width, scheme, shown, known)
                image = Image.open(BytesIO(content)).convert("RGB")
                if not given.folder:
                    image = image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
                image.save(out / f"{name}_{width}_{scheme}.png", optimize=True)
        browser.close()


if __name__ == "__main__":
    main()

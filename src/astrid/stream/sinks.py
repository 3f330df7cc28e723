"""Where announcements go: a Kafka topic, a web hook, files, VOEvents; each at least once.

Sinks are opened by address and only send; what is sent when, and what becomes of failures, is decided in
`publish`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qsl, quote

from astrid.errors import OutputError, StreamError, UsageError
from astrid.files.atomic import atomic_path
from astrid.stream.announcement import Announcement

__all__ = ["FileSink", "OpenSinks", "RefusedError", "Sink", "open_sink"]


_LONGEST = 200  # characters of a name: file systems take 255 bytes
_NIGHT = re.compile(r"\d{4}-\d\d-\d\d")


class RefusedError(StreamError):
    """The receiver will never take what it was sent; to try again is of no use."""


class Sink(Protocol):
    """A receiver of announcements."""

    at_once: int
    """Announcements that it can be given together: where one is refused they are given one by one."""

    cutouts: bool
    """Whether it wants the images."""

    def send(self, announcements: Sequence[Announcement]) -> None:
        """Send; when this returns, the receiver has all of them.

        Raises
        ------
        StreamError
            It cannot be reached, or is busy: it may have some of them, and gets all of them again.
        RefusedError
            It was reached and will not take them.
        OutputError
            A file cannot be written.
        """
        ...

    def close(self) -> None:
        """Give back connections."""
        ...


def open_sink(address: str, *, brokers: str | Path | None = None) -> Sink:
    """The sink of an address; nothing is connected yet.

    Parameters
    ----------
    address : str
        ``kafka://BROKER/TOPIC``, ``https://HOST/…``, ``files:FOLDER``, ``voevent:FOLDER`` or
        ``voevent:https://HOST/…``; ``?cutouts=yes`` adds the images (Kafka and Avro files), ``?format=avro``
        gives Avro files, ``?authority=NAME`` names who sends VOEvents.
    brokers : str or Path, optional
        File of named brokers and their secrets.

    Raises
    ------
    UsageError
        There is no such kind of address, or it holds a password.
    """
    from astrid.stream.topic_sink import TopicSink
    from astrid.stream.voevent import VOEventFiles, VOEventPost
    from astrid.stream.webhook import Webhook

    if address.startswith("kafka://"):
        place, options = _options(address, ("cutouts",))
        return TopicSink(place, brokers=brokers, cutouts=options.get("cutouts") == "yes")
    if address.startswith(("https://", "http://")):
        return Webhook(address)
    kind, _, rest = address.partition(":")
    if kind == "files":
        place, options = _options(rest, ("format", "cutouts"))
        return FileSink(place, avro=options.get("format") == "avro", cutouts=options.get("cutouts") == "yes")
    if kind == "voevent":
        if rest.startswith(("https://", "http://")):
            return VOEventPost(rest)
        place, options = _options(rest, ("authority",))
        return VOEventFiles(place, authority=options.get("authority", "astrid"))
    raise UsageError(
        f"{kind or address!r} is no kind of receiver; give kafka://BROKER/TOPIC, https://…, files:FOLDER or "
        "voevent:FOLDER"
    )


def _options(address: str, known: Sequence[str]) -> tuple[str, dict[str, str]]:
    place, _, query = address.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    values = {"cutouts": ("yes", "no"), "format": ("json", "avro")}
    for name, value in options.items():
        if name not in known or value not in values.get(name, (value,)):
            raise UsageError(f"?{name}={value} is no option of this receiver; it takes {', '.join(known)}")
    if not place:
        raise UsageError(f"{address!r} names no place; give files:FOLDER or voevent:FOLDER")
    return place, options


class OpenSinks:
    """Sinks by their addresses, each opened when it is first asked for.

    Parameters
    ----------
    brokers : str or Path, optional
        File of named brokers and their secrets.
    """

    def __init__(self, brokers: str | Path | None = None) -> None:
        self._brokers = brokers
        self._sinks: dict[str, Sink] = {}

    def __call__(self, address: str) -> Sink:
        """The sink of an address; see `open_sink`."""
        if address not in self._sinks:
            self._sinks[address] = open_sink(address, brokers=self._brokers)
        return self._sinks[address]

    def close(self) -> None:
        """Close all of them."""
        while self._sinks:
            self._sinks.popitem()[1].close()


class FileSink:
    """One file for each announcement, named by its key: what comes twice is one file.

    Parameters
    ----------
    folder : str or Path
        A folder for each night is made in it.
    avro : bool
        Avro instead of JSON.
    cutouts : bool
        With images; in Avro only.

    Raises
    ------
    UsageError
        JSON cannot hold images.
    """

    at_once = 100
    suffix = ".json"

    def __init__(self, folder: str | Path, *, avro: bool = False, cutouts: bool = False) -> None:
        if cutouts and not avro:
            raise UsageError("JSON files hold no cutouts; ask for ?format=avro&cutouts=yes")
        self.folder, self.cutouts = Path(folder), cutouts
        self._avro = avro
        if avro:
            self.suffix = ".avro"

    def send(self, announcements: Sequence[Announcement]) -> None:
        """Write the files; see `Sink.send`."""
        for one in announcements:
            known = one.night is not None and _NIGHT.fullmatch(one.night)
            folder = self.folder / (str(one.night) if known else "unknown")
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(
                    f"{folder} cannot be made ({error.strerror}); choose another place"
                ) from error
            # identifiers can hold anything: what is escaped stays one name, and its own
            parts = (one.survey, one.alert_id, one.filter, one.filter_hash[:16])
            name = ",".join(quote(part, safe="") for part in parts)
            if len(name) > _LONGEST:
                name = f"{name[:100]},{hashlib.sha256(name.encode()).hexdigest()}"
            with atomic_path(folder / f"{name}{self.suffix}") as partial:
                partial.write_bytes(self.content(one))

    def content(self, announcement: Announcement) -> bytes:
        """The bytes of the file of an announcement."""
        return announcement.as_avro() if self._avro else announcement.as_json() + b"\n"

    def close(self) -> None:
        """Nothing is open."""

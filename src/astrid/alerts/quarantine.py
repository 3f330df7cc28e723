"""Packets that could not be used, kept with their bytes and the reason until they can be.

A folder of two files for each packet, named by the hash of its bytes; it is a source of packets like
any other.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from astrid.alerts.container import Packet
from astrid.errors import OutputError
from astrid.files.atomic import atomic_path

__all__ = ["Quarantine"]


class Quarantine:
    """A folder of packets that wait.

    Parameters
    ----------
    folder : str or Path
        Made with the first packet.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def add(self, packet: Packet, reason: str) -> Path:
        """Keep a packet; one that is here already gets the new reason.

        Returns
        -------
        path : Path
            Of its bytes.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        content = packet.content()
        name = hashlib.sha256(content).hexdigest()
        path = self.folder / f"{name}{packet.suffix}"
        facts = {"name": packet.name, "reason": reason, "bytes": len(content), "schema": packet.schema}
        facts["since"] = datetime.now(UTC).isoformat(timespec="seconds")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{self.folder} cannot be made ({error.strerror}); choose another place"
            ) from error
        if path.exists():
            known = self._facts(path)
            facts |= {key: known[key] for key in ("name", "since") if key in known}
        else:
            with atomic_path(path) as partial:
                partial.write_bytes(content)
        with atomic_path(path.with_suffix(".json")) as partial:
            partial.write_text(json.dumps(facts, indent=1, ensure_ascii=False) + "\n", "utf-8")
        return path

    def paths(self) -> list[Path]:
        """The packets, in the order of their hashes."""
        if not self.folder.is_dir():
            return []
        return sorted(
            path
            for path in self.folder.iterdir()
            if path.suffix in (".avro", ".bin", ".parquet") and not path.name.startswith(".")
        )

    def release(self, path: Path) -> None:
        """Remove a packet that could be used."""
        path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)

    def entries(self) -> list[dict[str, Any]]:
        """What is known about each packet: its ``name``, ``reason``, ``bytes``, ``schema``, ``since``."""
        return [{"path": str(path), **self._facts(path)} for path in self.paths()]

    def _facts(self, path: Path) -> dict[str, Any]:
        try:
            facts = json.loads(path.with_suffix(".json").read_text("utf-8"))
        except (OSError, ValueError):
            return {}  # the run was killed between the two files: the bytes are what counts
        return facts if isinstance(facts, dict) else {}

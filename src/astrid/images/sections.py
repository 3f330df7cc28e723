"""Sections of an image as FITS headers write them, ``[x1:x2,y1:y2]``.

Pixels count from 1 and both ends are included; nothing else of a header is
understood here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from astrid.errors import CalibrationError

__all__ = ["Section"]

_FORM = re.compile(r"^\[?\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]?$")


@dataclass(frozen=True)
class Section:
    """A rectangle of pixels, 1-based and inclusive.

    Parameters
    ----------
    x1, x2, y1, y2 : int
    """

    x1: int
    x2: int
    y1: int
    y2: int

    @classmethod
    def parse(cls, text: str, shape: tuple[int, int], name: str) -> Section:
        """Understand a section and check that it lies in the image.

        Parameters
        ----------
        text : str
            ``[x1:x2,y1:y2]``.
        shape : (ny, nx)
        name : str
            Of the image, for messages.

        Returns
        -------
        section : Section

        Raises
        ------
        CalibrationError
            Not a section, or not inside the image.
        """
        match = _FORM.match(text.strip())
        if match is None:
            raise CalibrationError(
                f"{name}: {text!r} is not a section, expected [x1:x2,y1:y2] in pixels that count from 1"
            )
        section = cls(*(int(number) for number in match.groups()))
        inside = 1 <= section.x1 <= section.x2 <= shape[1] and 1 <= section.y1 <= section.y2 <= shape[0]
        if not inside:
            raise CalibrationError(
                f"{name}: the section {section} does not lie in the image of {shape[1]} x {shape[0]} pixels; "
                "was the image trimmed already? give another section"
            )
        return section

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns for numpy."""
        return slice(self.y1 - 1, self.y2), slice(self.x1 - 1, self.x2)

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.x2 - self.x1 + 1

    @property
    def height(self) -> int:
        """Number of rows."""
        return self.y2 - self.y1 + 1

    def __str__(self) -> str:
        return f"[{self.x1}:{self.x2},{self.y1}:{self.y2}]"

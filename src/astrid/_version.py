"""The version of AstrID, kept in one place."""

__version__ = "0.1.0"

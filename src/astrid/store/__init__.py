"""The store: what is known about each alert, in one database beside its packets and nightly tables.

Importing this loads neither SQLAlchemy nor a driver; `open_store` does.
"""

from astrid.store.batch import Batch, Content, Pass, Score, Written
from astrid.store.opening import open_store

__all__ = ["Batch", "Content", "Pass", "Score", "Written", "open_store"]

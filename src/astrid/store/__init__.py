"""The store: what is known about each alert, in one database beside its packets and nightly tables."""

"""Trained models that come with the package; each is a directory that `astrid.learn.bundle` reads."""

"""Sky catalogues on disk: imported once, sorted on the sky, matched against positions in batches."""

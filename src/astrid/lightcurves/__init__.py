"""Light curves: one source in one or several bands, and what can be computed from its points."""

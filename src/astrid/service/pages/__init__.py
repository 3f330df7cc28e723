"""Pages for people at a browser: routes that answer with HTML, and what they show."""

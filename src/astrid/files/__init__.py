"""Files, whatever they hold: written whole or not at all, and known by their content."""

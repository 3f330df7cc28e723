"""What every page that AstrID writes shares: the frame of the page, small pictures and line charts."""

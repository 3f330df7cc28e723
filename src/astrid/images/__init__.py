"""Images: read, calibrate, align, subtract, detect, measure, cut out, inject, simulate."""

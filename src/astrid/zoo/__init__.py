"""The systems that AstrID has: one file for each published system."""

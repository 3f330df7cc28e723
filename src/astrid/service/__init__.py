"""The service: what AstrID knows and can do, over HTTP, for programs and for people at a browser.

Importing this loads no web framework.
"""

"""The command line: parse, call, print.

One file per noun and no science; what a command does is done by the rooms below.
"""

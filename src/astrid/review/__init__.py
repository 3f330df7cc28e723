"""Review: what people are asked, in which order, what they answered, and what a model learns from it.

Importing this loads neither a database nor a network.
"""

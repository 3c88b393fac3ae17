"""Keeps a vector index exactly in step with a folder of Markdown, on a schedule."""

__version__ = "0.1.0"

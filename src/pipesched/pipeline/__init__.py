"""Markdown -> chunks -> vectors -> collection, exactly in step."""

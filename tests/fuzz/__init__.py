"""Broken and hostile inputs by the hundred: `python -m tests.fuzz`."""

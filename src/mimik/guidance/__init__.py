"""Guides: networks and losses that look at the edits of any method while it is trained, one paper's idea each."""

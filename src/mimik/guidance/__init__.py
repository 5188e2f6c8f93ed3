"""Guides: networks and losses that evaluate the edits of any method during training, one paper's idea each."""

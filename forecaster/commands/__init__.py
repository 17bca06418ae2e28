"""What each command does once its line is parsed: typed arguments in, words and records out.

A module a group of commands, imported only by its own: `fetch` must not wait for torch.
"""

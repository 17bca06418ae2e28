"""Text to train on: corpora by name or by path, a character tokeniser, batches, named recipes."""

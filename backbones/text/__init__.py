"""Text to train on: corpora by name or by path, tokenisers, batches, named recipes."""

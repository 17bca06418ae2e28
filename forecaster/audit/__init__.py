"""Does anything know the future: leak laws and placebos on a run, smells in predictions."""

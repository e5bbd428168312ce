"""fieldnotes: a Flower app that adapts a small language model to the writing of several laboratories."""

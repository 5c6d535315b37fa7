"""From a program's text to its graph, with nothing of the text executed."""

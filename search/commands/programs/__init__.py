"""Commands about the text of a program: whether it is one, what it costs, and the published ones."""

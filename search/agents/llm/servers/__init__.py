"""What servers of language models tell of themselves."""

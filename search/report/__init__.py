"""What became of a campaign, told to people: parts that are data, written as Markdown and as one HTML page."""

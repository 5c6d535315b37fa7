"""Commands about databases themselves, not about what was found."""

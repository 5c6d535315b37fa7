"""What a program means: a typed, hash-consed, canonical graph."""

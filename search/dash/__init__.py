"""`vortex dash`: what campaigns found, in a browser; read from the ledger alone, and only tags and notes written."""

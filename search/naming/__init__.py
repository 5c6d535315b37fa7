"""The names by which our modules are imported: changed in what is installed, and looked for among those of others."""

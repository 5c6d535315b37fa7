"""The commands of `vortex`, one file for each kind of work. Importing them loads nothing heavy."""

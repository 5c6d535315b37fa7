"""What `vortex show` tells of a candidate."""

"""What a graph costs and where it is cut; nothing here changes one."""

"""Commands for agents that people run themselves: `vortex ask`, `tell`, `mcp` and `agents-guide`."""

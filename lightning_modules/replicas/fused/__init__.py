"""The fast engine on a CPU: several layers in one pass over memory."""

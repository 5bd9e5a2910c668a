"""The same mathematics in fewer steps: replicas, one vector of parameters, a compiled training step."""

"""Evaluation of trained networks: errors, ensembles, mistakes, significance, probes."""

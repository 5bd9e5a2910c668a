"""A page about studies: ``python -m lightning_modules.report``."""

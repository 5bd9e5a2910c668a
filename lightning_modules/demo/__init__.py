"""A page on which one draws two digits and nets answer: ``python -m lightning_modules.demo``."""

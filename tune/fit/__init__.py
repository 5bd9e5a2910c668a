"""Trials that train together in one fit."""

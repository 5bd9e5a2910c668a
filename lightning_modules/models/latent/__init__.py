"""Digits that are discovered from comparisons alone: aligned, ordered, split."""

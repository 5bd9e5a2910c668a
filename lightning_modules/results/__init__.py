"""Rows, tables, TensorBoard logs and progress of a study."""

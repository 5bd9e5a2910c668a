"""How long things take, against rivals; all commands share one harness."""

"""Networks that compare two digits: trunks, heads, and how digits enter."""

"""The colours of every picture: those of Okabe and Ito, which colour-blind readers tell apart.

Source: https://jfly.uni-koeln.de/color/. `ORANGE` is their vermilion, which stands out from white and black.
Colour alone says nothing in our pictures: what differs in colour also differs in shape, line, place or label.
"""

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
SKY, AMBER = "#56B4E9", "#E69F00"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, AMBER)  # of nets, curves or classes, in this order
SHADES = "Blues"  # of counts and shares: the darker, the more
LOW_IS_BRIGHT = "viridis_r"  # of errors
ORDERED = "viridis"  # of the ten digits, whose order matters

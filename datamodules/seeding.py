"""Seeds of the random streams of data: which order an epoch has, how digits are warped."""

import random


def derive_seed(*names: object) -> int:
    """The seed of one random stream, hashed from its names: streams of neighbouring seeds are unrelated."""
    return random.Random(" ".join(map(str, names))).getrandbits(32)  # torch's generators see no more

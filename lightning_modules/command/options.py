"""The named choices of settings, light enough for a command's help."""

from typing import Literal

Trunk = Literal["paper", "clean", "modern", "deep"]
Pool = Literal["flatten", "average"]
Branches = Literal["early", "separate", "shared"]
OptimizerName = Literal["sgd", "adamw"]
Schedule = Literal["constant", "warmup_linear"]
Augment = Literal["none", "bilinear", "bicubic"]
Engine = Literal["auto", "fused", "torch"]  # auto: fused on a CPU, torch's own operations elsewhere
Layout = Literal["auto", "channels_last", "contiguous"]  # of images; auto: channels_last on a CPU

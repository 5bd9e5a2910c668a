"""The choices that a setting may have, light enough for a command's help."""

from typing import Literal

Trunk = Literal["paper", "clean", "modern", "deep"]
Pool = Literal["flatten", "average"]
Branches = Literal["early", "separate", "shared"]
OptimizerName = Literal["sgd", "adamw"]
Schedule = Literal["constant", "warmup_linear"]
Augment = Literal["none", "bilinear", "bicubic"]

"""Which precision a recipe computes in on the machine at hand."""

import torch
from llvmlite.binding import get_host_cpu_features

MIXED = "bf16-mixed"
INSTRUCTIONS = ("avx512bf16", "amx-bf16")  # products of bfloat16, by LLVM's names


def recipe_precision(asked: str, accelerator: str) -> tuple[str, str]:
    """Lightning's precision for a recipe, and a line about it: the recipe's, where the machine is fast in it.

    A CPU without instructions for bfloat16 emulates it, slower than float32; on other devices we have not
    measured what it is worth.
    """
    if asked != MIXED:
        return asked, ""
    if not (accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())):
        return "32-true", f"precision 32-true: the recipe's {MIXED} is for CPUs"
    features = get_host_cpu_features()
    if not any(features.get(name) for name in INSTRUCTIONS):
        return "32-true", f"precision 32-true: this processor has no instructions for the recipe's {MIXED}"
    return MIXED, f"precision {MIXED}, the recipe's; --precision sets another"

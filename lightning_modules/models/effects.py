"""Which settings a model has, and which have an effect beside the others: one rule for command and Python."""

from collections.abc import Mapping
from typing import Any, cast, get_type_hints

from lightning_modules.command.options import DEFAULTS, Branches, LatentOptions, Options, Settings
from lightning_modules.command.plain import plain, refuse_unknown

BRANCHES: Mapping[str, Branches] = {"cnn": "early", "weight_sharing": "shared", "auxiliary": "shared"}

DATA = ("batch_size", "augment", "elastic", "two_views_from")  # go to the data module
TEAM = ("ensemble", "restarts")

_COMMON = {"lr", "augment", "elastic", "two_views_from", "ensemble", *Options.__annotations__}
_LATENT = {"prior", "consistency", "reorder", "part_merged", "restarts"}
KNOWN: Mapping[str, set[str]] = {
    # Latent digits are what the head takes them for: a temperature would only rescale what is learnt.
    "cnn": (_COMMON | _LATENT) - {"temperature"},
    "weight_sharing": (_COMMON | _LATENT) - {"branches", "temperature"},
    "auxiliary": _COMMON | {"alpha", "gamma", "label_smoothing"},
}

LATENT_ONLY = "prior, consistency and reorder are of latent digits, which only head exact has"


def why_idle(settings: Mapping[str, Any]) -> dict[str, str]:
    """Why settings have no effect beside the others.

    Args:
        settings: Of a model, how digits enter (`branches`) among them; what is left out is the default.

    Returns:
        Setting, whether given or not, to the reason; those that have an effect are left out.
    """
    now = {**DEFAULTS, **settings}
    early, exact = now.get("branches") == "early", now["head"] == "exact"
    idle = dict[str, str]()
    if now.get("branches") != "separate":
        idle["turns"] = "only branches separate take turns"
    if now["trunk"] not in ("modern", "deep"):
        idle |= dict.fromkeys(("width", "pool"), "width and pool are of the trunks modern and deep")
    if early:
        idle["head"] = "branches early have no head"
    if early or not exact:
        idle["temperature"] = "temperature is of head exact"
        idle |= dict.fromkeys(("prior", "consistency", "reorder"), LATENT_ONLY)
    elif now["trunk"] == "paper":
        idle["reorder"] = "reorder needs a trunk whose last layer is linear: clean, modern or deep"
    if not now["reorder"] or "reorder" in idle:
        idle["part_merged"] = "part_merged needs reorder, which tells where copies stand"
    if now["augment"] == "none":
        idle |= dict.fromkeys(("elastic", "two_views_from"), "augment is none")
    if (now["augment"] == "none" or now["two_views_from"] >= 1) and "consistency" not in idle:
        idle["consistency"] = "consistency needs two views: augment, and two_views_from below 1"
    if now["head"] == "argmax" and not early:
        idle["gamma"] = "head argmax has no gradient"
    return idle


def without_effect(settings: Mapping[str, Any]) -> set[str]:
    """Settings that have no effect beside the others.

    Args:
        settings: Of a model, how digits enter (`branches`) among them; what is left out is the default.

    Returns:
        Their names, whether given or not.
    """
    return set(why_idle(settings))


def checked(model: str, owner: str, given: Mapping[str, Any]) -> LatentOptions:
    """Check a module's settings.

    Args:
        model: Which model it is.
        owner: The module's class, for errors.
        given: Settings by name; None counts as left out.

    Returns:
        Those that are given, as plain Python values.

    Raises:
        ValueError: One does not exist, is not of its type, or has no effect and is not the default.
    """
    hints = get_type_hints(Settings)
    own = KNOWN[model] - {*DATA, *TEAM} | ({"two_views_from"} if "consistency" in KNOWN[model] else set())
    for name in given.keys() - hints.keys():
        refuse_unknown(owner, name, own | {"seed"})
    settings = {name: plain(name, value, hints[name]) for name, value in given.items() if value is not None}
    # What the data module does is not known here: it may warp digits, and so give two views.
    idle = why_idle({"branches": BRANCHES[model], **settings, "augment": "bilinear"})
    idle |= dict.fromkeys(DATA, "DigitPairs takes it")
    if settings.get("consistency"):  # whose weight rises from there, in the module
        del idle["two_views_from"]
    for name, value in settings.items():
        if name not in own or (name in idle and value != DEFAULTS.get(name)):
            raise ValueError(no_effect(name, owner, [idle.get(name, "")]))
    return cast("LatentOptions", settings)


def no_effect(name: str, owner: str, reasons: list[str]) -> str:
    """The line that refuses a setting without effect.

    Args:
        name: The setting.
        owner: On what it has none.
        reasons: Why; none where the model does not have the setting.
    """
    why = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
    return f"{name} has no effect on {owner}; leave it out" + (f" ({why})" if why else "")

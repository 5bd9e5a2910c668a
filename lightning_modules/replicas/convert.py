"""`replicate`: one ordinary net for each of R seeds, run as one program."""

import copy
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

from lightning_modules.command.plain import plain
from lightning_modules.replicas.dropout import Dropout
from lightning_modules.replicas.fused.following import follow, unfollow
from lightning_modules.replicas.input_kind import Kind, kind_of
from lightning_modules.replicas.one_batch import fold, for_each, share
from lightning_modules.replicas.ordinary import joined, make_nets, tensors_of
from lightning_modules.replicas.per_replica import replica_number, seeds_of_each
from lightning_modules.replicas.proof import Difference, Inputs, prove
from lightning_modules.replicas.pruning import select_tensors
from lightning_modules.replicas.registry import NoWideFormError, copy_numbers, select_attributes, widen
from lightning_modules.replicas.seeding import copy_streams, reseed
from lightning_modules.replicas.state import State, hide_name, take_replicas
from lightning_modules.replicas.vmapped import call_by_vmap, with_streams

Engine = Literal["auto", "wide", "vmap"]


class Replicas(nn.Module):
    """R replicas of an ordinary net, which all get the same batch (N, ...), and return (N, R, ...).

    `each` gives every replica a batch of its own. The first batch of each kind of inputs (`kind_of`) goes
    through the replicas and through the ordinary nets (`proof.py`). Where they differ, the net is run by
    vmap, which is slower, and a warning says why.

    Names in its state_dict are those of the ordinary net, and its tensors have R blocks along their first
    dimension.

    Attributes:
        is_followed: Whether layers that a forward calls one by one are to be computed together.
        seeds: R seeds.
        engine: `wide`: replicas side by side in the layers' channels; `vmap`: by `torch.func`.
        reason: Why the engine is vmap, if it was not asked for.
        is_proven: Whether all inputs are believed; by default the first of each kind are proven.
        net: What holds the tensors; with engine wide it can be called, with (N, R * D, ...).
    """

    is_followed = True

    def __init__(
        self, make_net: Callable[[], nn.Module], seeds: Sequence[int], engine: Engine = "auto"
    ) -> None:
        """Make ordinary nets and join them.

        Args:
            make_net: See `replicate`.
            seeds: R seeds.
            engine: See `replicate`.

        Raises:
            ValueError: With engine wide, a module has no form with replicas.
        """
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            self._join(make_nets(make_net, seeds), seeds, engine)
        reseed(self, self.seeds, 0)
        hide_name(self, "net")

    def _join(self, nets: Sequence[nn.Module], seeds: Sequence[int], engine: Engine) -> None:
        self.seeds, self.reason = list(seeds), ""
        self._wanted: Engine = engine
        self._ordinary = (nets[0],)  # in a tuple, so that its parameters are not ours
        self.shapes = {name: value.shape for name, value in tensors_of(nets[0]).items()}
        self.engine: Literal["wide", "vmap"] = "vmap" if engine == "vmap" else "wide"
        # Kinds of inputs that are proven, each with the dimensions of each output of an ordinary net.
        self._proven = list[tuple[Kind, list[int]]]()
        self.is_proven = False
        tensors = joined(nets)
        if self.engine == "wide":
            try:
                self.net = widen(nets[0], len(nets))
                self._hold(tensors)
                if self.is_followed:
                    follow(self.net)
            except NoWideFormError as why:
                with_streams(nets[0], len(nets))  # refuses what vmap cannot run either
                self._fall_back(str(why))
        if self.engine == "vmap":
            self.net = with_streams(nets[0], len(nets))
            self._hold(tensors)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call all replicas with the same batch.

        Args:
            *args: Inputs of the ordinary net, each (N, ...).
            **kwargs: More of them, by name.

        Returns:
            What the ordinary net returns, each tensor (N, R, ...).
        """
        dims = self._dims((args, kwargs), each=False)
        if self.engine == "vmap":
            return self._by_vmap(self.net, *self._spread((args, kwargs)))
        return self._side_by_side(partial(share, replicas=len(self.seeds)), (args, kwargs), dims)

    def each(self, *args: Any, **kwargs: Any) -> Any:
        """Call each replica with a batch of its own.

        Args:
            *args: Inputs of the ordinary net, each (N, R, ...).
            **kwargs: More of them, by name.

        Returns:
            What the ordinary net returns, each tensor (N, R, ...).

        Raises:
            ValueError: An input is that of another number of replicas.
        """
        replicas = len(self.seeds)
        for x in tree_leaves((args, kwargs)):
            if isinstance(x, Tensor) and x.shape[1:2] != (replicas,):
                raise ValueError(
                    f"inputs of each replica must be (N, R, ...) with R = {replicas}, got {tuple(x.shape)}"
                )
        dims = self._dims((args, kwargs), each=True)
        if self.engine == "vmap":
            return self._by_vmap(self.net, args, kwargs)
        return self._side_by_side(fold, (args, kwargs), dims)

    def _dims(self, inputs: Inputs, each: bool) -> list[int] | None:
        """The dimensions of the outputs; inputs of a kind that is new are proven first."""
        if self.is_proven:
            return None
        kind = kind_of(inputs, each)
        known = [dims for proven, dims in self._proven if proven == kind]
        if not known:
            known.append(self._prove(inputs if each else self._spread(inputs)))
            self._proven.append((kind, known[0]))
        return known[0]

    def _side_by_side(
        self, lay: Callable[[Tensor], Tensor], inputs: Inputs, dims: Sequence[int] | None
    ) -> Any:
        """Call all replicas by engine wide, with (N, R * D, ...) that `lay` makes of each tensor."""
        args, kwargs = tree_map_only(Tensor, lay, inputs)
        leaves, structure = tree_flatten(self.net(*args, **kwargs))
        dims = dims or [2] * len(leaves)
        unfolded = [
            y.unflatten(1, (len(self.seeds), -1)) if isinstance(y, Tensor) and dim > 1 else y
            for y, dim in zip(leaves, dims, strict=True)
        ]
        return tree_unflatten(unfolded, structure)

    def replica(self, index: int) -> nn.Module:
        """One replica as an ordinary net, which computes as this one does.

        Args:
            index: Which replica, from 0.

        Raises:
            IndexError: There is no such replica.
        """
        return self._single(self.net, replica_number(index, len(self.seeds)))

    def replica_state(self, index: int) -> State:
        """The state_dict of one replica as an ordinary net.

        Args:
            index: Which replica, from 0.
        """
        return self.replica(index).state_dict()

    def prove(self, *args: Any, **kwargs: Any) -> None:
        """Compare with the ordinary nets by a batch, before the first call does so.

        Args:
            *args: Inputs of the ordinary net, each (N, ...).
            **kwargs: More of them, by name.

        Raises:
            ValueError: With engine wide, the replicas compute something else.
        """
        self._dims((args, kwargs), each=False)

    def select(self, kept: Sequence[int]) -> None:
        """Keep only the given replicas; parameters stay the objects that an optimiser holds.

        Args:
            kept: Which replicas stay, in this order.
        """
        select_tensors(self.net, kept, len(self.seeds))
        for layer in self.net.modules():
            if self.engine == "wide":
                select_attributes(layer, kept, len(self.seeds))
            elif isinstance(layer, Dropout):  # the other layers are ordinary ones
                layer.select(kept, len(self.seeds))
        self.seeds = [self.seeds[r] for r in kept]

    def _spread(self, inputs: Inputs) -> Inputs:
        """The same batch for each replica: (N, R, ...) of each (N, ...)."""
        spread: Inputs = tree_map_only(Tensor, partial(for_each, replicas=len(self.seeds)), inputs)
        return spread

    def _hold(self, tensors: Mapping[str, Tensor]) -> None:
        """Make these tensors the parameters and buffers of `net`."""
        held = tensors_of(self.net)
        sound = self.engine == "vmap" or all(
            name in held and held[name].shape == value.shape for name, value in tensors.items()
        )
        if not sound or held.keys() != tensors.keys():
            raise NoWideFormError(
                "layers share a tensor, or a registered form has other tensors than R blocks of each"
            )
        names = {id(value): name for name, value in held.items()}
        for module in self.net.modules():
            for owned in (module._parameters, module._buffers):
                for own, value in owned.items():
                    if value is not None:
                        owned[own] = cast("Any", tensors[names[id(value)]])

    def _fall_back(self, reason: str) -> None:
        if self._wanted == "wide":
            raise ValueError(f"engine wide does not fit this net: {reason}; take engine vmap")
        self.engine, self.reason = "vmap", reason
        text = f"replicas run by torch.func.vmap, which is slower: {reason}"
        # Not warn: it shows a text once, but of two modules each may have the same reason.
        warnings.warn_explicit(text, UserWarning, __file__, 0, __name__)

    def _prove(self, inputs: Inputs) -> list[int]:
        if self.engine == "wide":
            try:
                return self._prove_wide(inputs)
            except Difference as why:
                self._fall_back(str(why))
                self._proven.clear()
                wide = self.net
                self.net = with_streams(self._single(wide, 0), len(self.seeds))
                self._hold(tensors_of(wide))
                copy_streams(wide, self.net)
        try:
            return prove(self.net, len(self.seeds), self._single, inputs, self._by_vmap)
        except Difference as why:
            raise ValueError(
                f"this net cannot be replicated: by torch.func.vmap, {why}; in forward take no random"
                " numbers but those of dropout layers, change buffers in place, and write it of"
                " registered layers, or register one"
            ) from why

    def _prove_wide(self, inputs: Inputs) -> list[int]:
        try:
            return prove(self.net, len(self.seeds), self._single, inputs)
        except Exception:  # of any kind: a user's code may do with a tensor what cannot be followed
            if not unfollow(self.net):
                raise
            return prove(self.net, len(self.seeds), self._single, inputs)

    def _by_vmap(self, net: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return call_by_vmap(net, self.shapes, len(self.seeds), args, kwargs)

    def _single(self, net: nn.Module, number: int) -> nn.Module:
        """An ordinary net with the tensors of one replica of a net."""
        single = copy.deepcopy(self._ordinary[0])
        ours, modules = tensors_of(net), dict(net.named_modules())
        for name, tensor in tensors_of(single).items():
            value = take_replicas(ours[name].detach(), [number], len(self.seeds)).view(tensor.shape)
            tensor.data = value
            if isinstance(tensor, nn.Parameter):
                tensor.requires_grad_(ours[name].requires_grad)
        for name, module in single.named_modules():
            copy_numbers(modules.get(name, module), module)
        return single


def replicate(
    make_net: Callable[[], nn.Module], seeds: Sequence[int], engine: Engine = "auto", example: Any = None
) -> Replicas:
    """Make R trainings of a net one program.

    Replica k has the weights that ``make_net`` gives under seed k, and drops in training what it would drop
    alone.

    Args:
        make_net: Makes the ordinary net; it is called once for each seed, after seeding torch.
        seeds: R seeds.
        engine: `wide` has replicas side by side in the layers' channels, and refuses nets for which this is
            not right; `vmap` is right for any forward, and slower; `auto` is wide where it is right.
        example: A batch (N, ...) of inputs, or a tuple of several inputs, to prove it by at once. By default
            it is proven by the first batch that comes.

    Returns:
        The replicas.

    Raises:
        ValueError: With engine wide, the net has no such form, or computes something else in it.
    """
    numbers, engine = seeds_of_each(seeds), plain("engine", engine, Engine)
    replicas = Replicas(make_net, numbers, engine)
    if example is not None:
        replicas.prove(*(example if isinstance(example, tuple) else (example,)))
    return replicas

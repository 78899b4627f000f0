"""Which image stands at each position of the endless stream: a function of the seed, never of what came before."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from latentry import rng

_KEPT_ORDERS = 64


class Order:
    """Groups of images to an endless stream in which every group comes equally often, and each image in its group too.

    groups: the images of each group; one group is a plain shuffled pass after pass. Each pass is a permutation from
    (seed, group, pass). Positions can be read in any order.
    """

    def __init__(self, groups: list[NDArray[np.int64]], seed: int) -> None:
        self.groups, self.seed = groups, seed
        self._orders: OrderedDict[tuple[int, int], NDArray[np.int64]] = OrderedDict()

    def index(self, position: int) -> int:
        """The image at a position >= 0."""
        turn, offset = divmod(position, len(self.groups))
        group = int(self._permutation(-1, turn, len(self.groups))[offset]) if len(self.groups) > 1 else 0
        members = self.groups[group]
        epoch, offset = divmod(turn, len(members))
        return int(members[self._permutation(group, epoch, len(members))[offset]])

    def _permutation(self, group: int, epoch: int, count: int) -> NDArray[np.int64]:
        key = (group, epoch)
        if key not in self._orders:
            stream = "order" if group >= 0 else "order of groups"
            self._orders[key] = rng.generator(self.seed, stream, max(group, 0), epoch).permutation(count)
            if len(self._orders) > max(_KEPT_ORDERS, 2 * len(self.groups)):
                self._orders.popitem(last=False)
        return self._orders[key]

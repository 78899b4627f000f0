"""A bounded queue that is fair between keys."""

from __future__ import annotations

from collections import OrderedDict, deque

from latentry.serve.engine.ticket import Ticket


class Full(Exception):
    """No further request may wait."""


class FairQueue:
    """Tickets in turn: one of each key, in the order in which keys began to wait, then the next of each."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._lines: OrderedDict[str, deque[Ticket]] = OrderedDict()

    def __len__(self) -> int:
        return sum(map(len, self._lines.values()))

    @property
    def full(self) -> bool:
        """Whether `put` would refuse."""
        return len(self) >= self.most

    def put(self, ticket: Ticket) -> None:
        """At the end of its key's line. Raises `Full`."""
        if self.full:
            raise Full
        self._lines.setdefault(ticket.key, deque()).append(ticket)

    def first(self) -> Ticket | None:
        """Whose turn it is."""
        return next((line[0] for line in self._lines.values()), None)

    def take(self) -> Ticket:
        """Whose turn it is, out of the queue."""
        key, line = next(iter(self._lines.items()))
        ticket = line.popleft()
        self._lines.move_to_end(key)
        if not line:
            del self._lines[key]
        return ticket

    def remove(self, ticket: Ticket) -> bool:
        """Whether it still waited."""
        line = self._lines.get(ticket.key, deque())
        if ticket not in line:
            return False
        line.remove(ticket)
        if not line:
            del self._lines[ticket.key]
        return True

    def move(self, ticket: Ticket, place: int) -> bool:
        """To another place in its key's line, 0 the next. Whether it still waited."""
        line = self._lines.get(ticket.key, deque())
        if ticket not in line:
            return False
        line.remove(ticket)
        line.insert(place, ticket)
        return True

    def place(self, ticket: Ticket) -> int | None:
        """Its place in its key's line."""
        line = self._lines.get(ticket.key, deque())
        return line.index(ticket) if ticket in line else None

    def empty(self) -> list[Ticket]:
        """All of them, out of the queue."""
        waiting = [ticket for line in self._lines.values() for ticket in line]
        self._lines.clear()
        return waiting

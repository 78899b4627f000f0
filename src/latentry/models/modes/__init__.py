"""How the step is computed: precision, memory format, compiled or not, weights as they are or prepacked."""

from latentry.models.modes.mode import AUTO, PLAIN, Mode, checked, usual

__all__ = ["AUTO", "PLAIN", "Mode", "checked", "usual"]

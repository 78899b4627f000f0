"""From YAML text to checked options: load, override, and say everything that is wrong at once."""

from latentry.config.check import schema, validate
from latentry.config.text import dump_yaml, load_yaml, parse_value, parse_yaml
from latentry.config.tree import override

__all__ = ["dump_yaml", "load_yaml", "override", "parse_value", "parse_yaml", "schema", "validate"]

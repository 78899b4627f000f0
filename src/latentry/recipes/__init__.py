"""The recipes that come with latentry, as YAML."""

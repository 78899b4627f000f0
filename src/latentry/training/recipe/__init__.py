"""The recipe: what a whole experiment says, stage by stage."""

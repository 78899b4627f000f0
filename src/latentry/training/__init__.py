"""Training: a plan of everything a run will do, one loop for every stage, and the stages themselves."""

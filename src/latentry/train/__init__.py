"""Training: one loop (`fit`) for every stage, a step per stage, and the recipe that states an experiment."""

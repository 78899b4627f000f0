"""The mathematics of diffusion: no layers, no files, no training loop."""

from latentry.diffusion.levels import LEVELS
from latentry.diffusion.prediction import PREDICTIONS
from latentry.diffusion.schedule import CLEAN, SCHEDULES, Level, Schedule
from latentry.diffusion.solvers import SOLVERS
from latentry.diffusion.weighting import WEIGHTINGS

__all__ = ["CLEAN", "LEVELS", "PREDICTIONS", "SCHEDULES", "SOLVERS", "WEIGHTINGS", "Level", "Schedule"]

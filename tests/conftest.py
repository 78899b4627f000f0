"""Tests run two at a time on small models: one thread each is faster, and makes results repeatable."""

from __future__ import annotations

import os

from tests import processes
from tests.browser import browser as browser
from tests.processes import no_process_stays as no_process_stays

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
processes.prepare()

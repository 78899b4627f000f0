"""HTTP: the endpoints of OpenAI's images API, every task of `TASKS`, jobs, health and metrics."""

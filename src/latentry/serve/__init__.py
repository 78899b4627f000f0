"""An HTTP server of models: `engine` draws, `jobs` keeps what takes long, `api` speaks to clients.

Needs the extra `serve` (FastAPI, uvicorn, python-multipart, prometheus-client); nothing else imports this package.
"""

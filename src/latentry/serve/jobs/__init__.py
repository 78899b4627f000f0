"""Work that outlives its request: kept in SQLite and a folder, so that a restart loses nothing that was finished."""

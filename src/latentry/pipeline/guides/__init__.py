"""Second models that guide a first: a worse one of the same latents, a classifier of another."""

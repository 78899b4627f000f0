"""What the conditions of words have in common: tokenizers, prompts, and the class guessed from words."""

"""In the user's training loop: the recorder and what it is made of."""

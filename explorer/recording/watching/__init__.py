"""A look inside the model while it trains: statistics and histograms of parameters, gradients, updates, activations."""

"""Run recorded models again, as they were and edited: weights of a step, edits, outcomes, attributions, devices."""

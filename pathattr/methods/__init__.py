"""What users call: explainers, and the settings they decide."""

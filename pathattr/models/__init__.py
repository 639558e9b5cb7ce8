"""The user's model: how it is called, what its outputs are, and one adapter a framework."""

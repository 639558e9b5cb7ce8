"""The JAX adapter of pathattr: functions, Flax, Equinox, and Keras where it runs on JAX."""

from pathattr_jax.backend import JaxBackend

__all__ = ["JaxBackend"]

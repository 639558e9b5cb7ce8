"""What every floor stands on: checks, names, axes, arithmetic, files."""

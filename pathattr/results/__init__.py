"""What an explanation is: arrays with their record, saved, loaded and drawn."""

"""What is minimised: one file for each objective; `settings` says what a recipe may set."""

"""What `/classify` feels while probes saturate their lane, and while ten times too many ask for it."""

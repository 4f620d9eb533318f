"""The command `clead`. Each command has a file of its own and imports what it needs when it runs."""

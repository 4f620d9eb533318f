"""`clead probe` over many images: the files, their labels, the run, the curve of the set, and the reports."""

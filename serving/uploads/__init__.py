"""From the body of a request to images, in bounded memory and time."""

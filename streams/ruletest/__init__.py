"""Service levels tried offline: what a file says of windows, judged by the code the stream runs."""

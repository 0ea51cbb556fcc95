"""The loop closed once, headless: a story told by traffic alone, watched from outside, and counted at the end."""

"""The demo's users: they ask through the gateway, change their minds, and correct answers."""

"""Who writes raw calls without the gateway: made-up users, and histories played again."""

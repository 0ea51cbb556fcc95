"""From librdkafka's security options (the deployment's ``kafka.options``) to Faust's credentials."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from tidemill.errors import Stop

_UNDERSTOOD = frozenset(
    {"security.protocol", "sasl.mechanism", "sasl.mechanisms", "sasl.username", "sasl.password", "ssl.ca.location"}
)


def credentials(options: Mapping[str, Any]) -> Any:
    """Faust's credentials, or None for a plaintext broker. Raises Stop for security options it cannot carry over."""
    for name in options:
        if name.startswith(("security.", "sasl.", "ssl.")) and name not in _UNDERSTOOD:
            raise Stop(
                f"kafka.options.{name} is not understood by the streams role; use {', '.join(sorted(_UNDERSTOOD))}"
            )
    protocol = str(options.get("security.protocol", "plaintext")).lower()
    if protocol == "plaintext":
        return None
    import faust

    context = None
    if protocol in ("ssl", "sasl_ssl"):
        context = ssl.create_default_context(cafile=options.get("ssl.ca.location"))
    if protocol == "ssl":
        return faust.SSLCredentials(context=context)
    if protocol not in ("sasl_plaintext", "sasl_ssl"):
        raise Stop(f"kafka.options.security.protocol: {protocol!r}; use plaintext, ssl, sasl_plaintext or sasl_ssl")
    return faust.SASLCredentials(
        mechanism=options.get("sasl.mechanism") or options.get("sasl.mechanisms") or "PLAIN",
        username=options.get("sasl.username"),
        password=options.get("sasl.password"),
        ssl_context=context,
    )

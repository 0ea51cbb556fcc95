"""One POST to a receiver: signed, within a deadline, to an address that was checked, never redirected."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Callable, Mapping

import httpx

from consumers.alerts.addresses import resolve
from tidemill.errors import Stop
from tidemill.settings.alerting import WebhookSettings

Headers = dict[str, str]


def signer(webhook: WebhookSettings, environ: Mapping[str, str] = os.environ) -> Callable[[str, int, str], Headers]:
    """Makes the Standard Webhooks headers of a delivery (id, epoch seconds, body). Raises Stop on a missing secret."""
    if not webhook.secret_env:
        return lambda name, second, body: {"webhook-id": name, "webhook-timestamp": str(second)}
    from standardwebhooks import Webhook
    from standardwebhooks.webhooks import EmptyWebhookSecretError

    try:
        made = Webhook(environ.get(webhook.secret_env, ""))
    except (ValueError, RuntimeError, EmptyWebhookSecretError) as error:
        raise Stop(
            f"alerts.webhooks.{webhook.name}.secret_env names {webhook.secret_env}, which holds no Standard Webhooks "
            "secret; export one (whsec_ and base64) or leave the setting empty"
        ) from error

    def sign(name: str, second: int, body: str) -> Headers:
        from datetime import UTC, datetime

        signature = made.sign(name, datetime.fromtimestamp(second, UTC), body)
        return {"webhook-id": name, "webhook-timestamp": str(second), "webhook-signature": signature}

    return sign


async def post(
    url: str,
    body: bytes,
    headers: Headers,
    within_s: float,
    tls: ssl.SSLContext,
    allow_private: bool | None = None,
) -> tuple[int, str]:
    """The answer's status and Retry-After; its body is not read.

    Raises httpx.HTTPError, OSError (Forbidden where the address may not be called) or, in the end, TimeoutError. A loop
    of its own, since only there a deadline holds for the whole exchange, however slowly its bytes come.
    """
    asked = httpx.URL(url)
    async with (
        asyncio.timeout(within_s),
        httpx.AsyncClient(timeout=None, follow_redirects=False, trust_env=False, verify=tls) as client,
    ):
        addresses = await resolve(asked.host, asked.port or (443 if asked.scheme == "https" else 80), allow_private)
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            try:
                async with client.stream(
                    "POST",
                    asked.copy_with(host=address),
                    content=body,
                    headers={"Host": asked.netloc.decode("ascii")} | headers,
                    extensions={"sni_hostname": asked.host},
                    timeout=httpx.Timeout(None, connect=within_s / left),
                ) as answer:
                    return answer.status_code, answer.headers.get("Retry-After", "")
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if left == 1:
                    raise
    raise httpx.ConnectError(f"{asked.host} has no address")

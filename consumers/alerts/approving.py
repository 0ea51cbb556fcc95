"""Puts the signed link into an alert that asks for approval, on its way out: the link never stands in the topic."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from consumers.alerts.groups import Notification
from tidemill import approval
from tidemill.events import ThresholdEvent
from tidemill.settings import Settings
from tidemill.settings.alerting import WebhookSettings
from tidemill.settings.keys import approval_key


class Links:
    """Makes the links for one receiver; none where there is no key. Raises Stop where the key cannot be used.

    Whoever has a link may decide, and summaries are printed and logged: there it stands only where the receiver is
    shown nothing else that has it.
    """

    def __init__(self, settings: Settings, webhook: WebhookSettings) -> None:
        self._key = approval_key(settings)
        self._deployment = settings.deployment
        shown = ("{evidence}", "{description}")
        self._in_summary = webhook.format == "slack" and not any(name in webhook.template for name in shown)
        self._url, self._lasts_ms = settings.console_url, round(settings.approval.link_lasts_s * 1000)

    def into(self, told: Notification) -> Notification:
        """The notification with a link in each event that asks for approval. Equal inputs, equal links."""
        return replace(told, events=tuple(map(self._with_link, told.events)))

    def _with_link(self, event: ThresholdEvent) -> ThresholdEvent:
        data = event.data
        if self._key is None or data.rule != approval.RULE or data.state != "firing":
            return event
        until_ms = event.time_ms + self._lasts_ms
        link = self._url + approval.path(self._key, data.alarm_id, until_ms, self._deployment)
        given = {"reason": f"{data.reason}. Decide: {link}", "evidence_url": link}
        if self._in_summary:
            given["summary"] = f"{data.summary}: {link}"
        return msgspec.structs.replace(event, data=msgspec.structs.replace(data, **given))

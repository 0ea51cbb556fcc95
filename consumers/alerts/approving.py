"""Puts the signed link into an alert that asks for approval, on its way out: the link never stands in the topic."""

from __future__ import annotations

from dataclasses import replace

import msgspec

from consumers.alerts.groups import Notification
from tidemill import approval
from tidemill.events import ThresholdEvent
from tidemill.settings import Settings
from tidemill.settings.keys import approval_key


class Links:
    """Makes the links of one deployment; none where it has no key. Raises Stop where the key cannot be used."""

    def __init__(self, settings: Settings) -> None:
        self._key = approval_key(settings)
        self._deployment = settings.deployment
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
        given = {"summary": f"{data.summary}: {link}", "reason": f"{data.reason}. Decide: {link}", "evidence_url": link}
        return msgspec.structs.replace(event, data=msgspec.structs.replace(data, **given))

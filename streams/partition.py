"""One partition of monitoring.partials, folded: the pipelines whose partials it carries, and the progress for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from streams.pipeline import Outputs, PipelineFold, PipelineState
from streams.windows.sources import Sources
from tidemill.codec import encode
from tidemill.events import Partial, Partials, Progress
from tidemill.settings import Settings

_state_decoder = msgspec.json.Decoder(PipelineState)


class PartitionFold:
    """Folds messages in log order; collects which pipelines' states have to be written.

    A pipeline knows of progress only from messages that came after its first partial, and keeps what it knows in its
    own state: states of different pipelines never depend on each other, so each can be written apart.
    """

    def __init__(self, settings: Settings, states: Mapping[str, bytes]) -> None:
        """``states``: what ``changed`` gave earlier, by pipeline."""
        self._settings = settings
        self._folds = {
            name: PipelineFold(name, settings, _state_decoder.decode(raw)) for name, raw in sorted(states.items())
        }
        self._changed: set[str] = set()
        self.outcomes: Counter[str] = Counter()
        """Partials by outcome: applied, repeated, overlap."""
        self.misplaced: Counter[str] = Counter()
        """Requests and answers outside their window: late ones changed nothing, those ahead moved to the newest."""

    def __iter__(self) -> Iterator[PipelineFold]:
        return iter(self._folds.values())

    def take(self, message: Partial | Partials | Progress) -> Outputs:
        """Fold one message in; give back what goes out because of it."""
        if isinstance(message, Progress):
            return self._follow(message)
        for partial in message.partials if isinstance(message, Partials) else (message,):
            self._apply(partial)
        return Outputs([], [])

    def changed(self) -> dict[str, bytes]:
        """The states that differ from what was last given, encoded; afterwards none does."""
        states = {name: encode(self._folds[name].snapshot()) for name in sorted(self._changed)}
        self._changed.clear()
        return states

    def _apply(self, partial: Partial) -> None:
        fold = self._folds.get(partial.pipeline)
        if fold is None:
            fold = self._folds[partial.pipeline] = PipelineFold(partial.pipeline, self._settings)
        late, ahead = fold.windows.too_late, fold.windows.ahead
        outcome = fold.apply(partial)
        self.outcomes[outcome] += 1
        self.misplaced.update(late=fold.windows.too_late - late, ahead=fold.windows.ahead - ahead)
        if outcome != "repeated":
            self._changed.add(partial.pipeline)

    def _follow(self, progress: Progress) -> Outputs:
        out = Outputs([], [])
        heard: dict[int, Sources] = {}  # by what was known: pipelines share one value, merged once for all of them
        latest: Sources | None = None
        for name, fold in self._folds.items():
            known = fold.windows.sources
            sources = heard.get(id(known))
            if sources is None:
                sources = known.heard(progress)
                latest = sources = latest if sources == latest else sources
                heard[id(known)] = sources
            if sources == known:  # read again after a restart: acting on it would make other revisions than before
                continue
            waiting = fold.waiting
            found = fold.follow(sources)
            if found.windows or found.events or fold.waiting != waiting:
                self._changed.add(name)
                out.windows.extend(found.windows)
                out.events.extend(found.events)
        return out

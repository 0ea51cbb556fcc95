"""The demo's language: seeded texts with their truth, pure apart from reading a CSV file."""

from producers.language.noise import corrupt
from producers.language.speech import WAYS, generate, leaked, utterance
from producers.language.texts import Speaker, TextSource, read_csv
from producers.language.utterance import Utterance

__all__ = ["WAYS", "Speaker", "TextSource", "Utterance", "corrupt", "generate", "leaked", "read_csv", "utterance"]

"""The chat format of the tiny base: one template for training, batch answers and the engine alike.

A conversation is `<s>` then, per turn, `<|user|>question` or `<|assistant|>answer</s>`. System messages are left
out, so a prompt template set at the gateway does not change what the model was trained on.
"""

from __future__ import annotations

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
USER, ASSISTANT = "<|user|>", "<|assistant|>"
SPECIAL_TOKENS = (PAD, BOS, EOS, USER, ASSISTANT)

TEMPLATE = (
    "{{ '<s>' }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '</s>' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""Jinja template saved with the tokenizer; `rendered_prompt` gives the same text without Jinja."""


def rendered_prompt(question: str) -> str:
    """The text the model continues, for a conversation of one user turn."""
    return f"{BOS}{USER}{question}{ASSISTANT}"


def rendered_answer(answer: str) -> str:
    """What the model must write after `rendered_prompt`, end mark included."""
    return f"{answer}{EOS}"

"""What `tidemill up` tells people at the end."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from tidemill.cli.up import addresses
from tidemill.settings import load_settings

ROOT = Path(__file__).parents[3]


def test_addresses_name_running_parts_and_the_key_file_but_no_key(tmp_path: Path) -> None:
    settings = load_settings(ROOT / "tidemill.yaml", {"TIDEMILL_DATA_DIR": str(tmp_path)})
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "gateway.keys").write_text("tm-secret\n")
    console = Console(width=60)
    with console.capture() as shown:
        for line in addresses(settings, ["gateway", "console"]):
            console.print(line, soft_wrap=True)
    text = shown.get()
    assert "http://127.0.0.1:18090" in text
    assert "127.0.0.1:18080/v1/chat/completions" in text
    assert '[{"role": "user", "content": "hello"}]' in text  # not taken for markup
    assert "MLflow" not in text
    assert "secrets/gateway.keys" in text
    assert "tm-secret" not in text

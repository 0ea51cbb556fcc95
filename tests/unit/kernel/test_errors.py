"""Messages: what must not stand in them."""

from __future__ import annotations

from tidemill.errors import without_credentials


def test_no_password_of_a_url_is_said() -> None:
    said = without_credentials("API request to http://me:pass@mlflow:5000/api failed; see https://docs.example.org/@x")
    assert said == "API request to http://mlflow:5000/api failed; see https://docs.example.org/@x"

"""Messages between processes: what is sent arrives, and half a message is an end."""

from __future__ import annotations

import io

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llm_timecycle.text.parallel.messages import receive, send

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(PLAIN, max_size=3))
def test_values_arrive_in_order(values):
    stream = io.BytesIO()
    for value in values:
        send(stream, value)
    stream.seek(0)
    assert [receive(stream) for _ in values] == values
    with pytest.raises(EOFError):
        receive(stream)


def test_a_message_is_its_length_and_its_content():
    stream = io.BytesIO()
    send(stream, b"abc")
    content = stream.getvalue()
    assert content[:8] == (len(content) - 8).to_bytes(8, "little")
    assert content.endswith(b"abc")


@pytest.mark.parametrize("cut", [3, 10])
def test_half_a_message_is_an_end(cut):
    stream = io.BytesIO()
    send(stream, b"abc")
    with pytest.raises(EOFError):
        receive(io.BytesIO(stream.getvalue()[:cut]))

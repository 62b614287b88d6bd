"""`ErrorPolicy`: one warning per kind of failure, an exception where `strict`."""

import warnings

import pytest

from lightning_cam.runtime.errors import ErrorPolicy


@pytest.fixture
def messages():
    return []


@pytest.fixture
def policy(messages):
    return ErrorPolicy(warn=messages.append)


def test_an_exception_of_the_body_becomes_one_warning_that_says_what_was_skipped(policy, messages):
    with policy.suppress("an evaluation"):
        raise ValueError("expected 3 channels, got 1")
    (message,) = messages
    assert message == (
        "lightning_cam skipped an evaluation; training goes on. "
        "ValueError: expected 3 channels, got 1 (strict=True raises)"
    )


def test_a_body_that_succeeds_costs_no_warning(policy, messages):
    with policy.suppress("an evaluation"):
        result = 1 + 1
    assert (result, messages) == (2, [])


def test_by_default_warnings_are_runtime_warnings():
    with (
        pytest.warns(RuntimeWarning, match="lightning_cam skipped the report"),
        ErrorPolicy().suppress("the report"),
    ):
        raise OSError("disk full")


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_only_exceptions_are_suppressed(policy, messages, error):
    with pytest.raises(error), policy.suppress("an evaluation"):
        raise error
    assert messages == []


def test_strict_lets_exceptions_through(messages):
    policy = ErrorPolicy(strict=True, warn=messages.append)
    with pytest.raises(KeyError, match="gone"), policy.suppress("an evaluation"):
        raise KeyError("gone")
    error = ValueError("handled")
    with pytest.raises(ValueError, match="handled") as raised:
        policy.handle("an evaluation", error)
    assert raised.value is error
    assert messages == []


def test_never_raise_warns_even_where_strict_and_restores_strict(messages):
    policy = ErrorPolicy(strict=True, warn=messages.append)
    with policy.never_raise(), policy.suppress("the report"):
        raise ValueError("no template")
    assert len(messages) == 1
    assert policy.strict


def test_never_raise_restores_strict_after_an_exception_of_the_body():
    policy = ErrorPolicy(strict=True)
    with pytest.raises(ValueError, match="not suppressed"), policy.never_raise():
        raise ValueError("not suppressed")
    assert policy.strict


def test_errors_that_differ_in_numbers_addresses_and_paths_are_of_one_kind(policy, messages):
    for n in range(10):
        policy.handle("an evaluation", RuntimeError(f"Tried to allocate {n}.5 GiB at 0x{n:x}f"))
        policy.handle("a file", OSError(28, "No space left on device", f"step={n}.png"))
    assert [message.split(";")[0] for message in messages] == [
        "lightning_cam skipped an evaluation",
        "lightning_cam skipped a file",
    ]
    assert messages[1].endswith("What else fails for the same reason is not reported.")


def test_errors_of_different_types_and_codes_are_of_different_kinds(policy, messages):
    for error in (ValueError("x"), TypeError("x"), OSError(28, "x"), OSError(13, "x")):
        policy.handle("an evaluation", error)
    assert len(messages) == 4


def test_warn_once_compares_messages_without_numbers_or_kinds_where_given(policy, messages):
    policy.warn_once("goes on with 8")
    policy.warn_once("goes on with 4")
    policy.warn_once("first text", kind="memory")
    policy.warn_once("second text", kind="memory")
    assert messages == ["goes on with 8", "first text"]


def test_the_number_of_warnings_is_bounded_and_the_last_one_says_so(policy, messages):
    for n in range(100):
        policy.handle("an evaluation", RuntimeError("x" * n))
    assert len(messages) == 21
    assert messages[-1].endswith("After 20 kinds of warnings no more are shown.")
    assert not any("no more" in message for message in messages[:-1])


def test_a_filter_that_turns_warnings_into_errors_does_not_hide_the_kind():
    policy = ErrorPolicy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="skipped"), policy.suppress("an evaluation"):
            raise ValueError("x")

"""What a library raises or reports while it loads becomes one line, or nothing."""

from __future__ import annotations

import warnings

import pytest

from tosa_ros.errors import DepthError, ModelError
from tosa_ros.loading import one_line_errors, quiet_loading


def fail(error):
    with one_line_errors('model x cannot be loaded', ModelError):
        raise error


@pytest.mark.parametrize(
    ('error', 'line'),
    [
        (OSError('no file\nsee https://...'), 'model x cannot be loaded: no file'),
        (KeyError('w'), "model x cannot be loaded: it is malformed (KeyError: 'w')"),
        (
            RuntimeError('size mismatch:\n\tw: 3 not 4'),
            'model x cannot be loaded: size mismatch: w',
        ),
        (RuntimeError('a' * 999), 'model x cannot be loaded: ' + 'a' * 197 + '...' + 'a' * 100),
    ],
)
def test_any_error_is_one_line_of_the_callers_kind(error, line):
    with pytest.raises(ModelError) as raised:
        fail(error)
    assert str(raised.value).startswith(line)
    assert '\n' not in str(raised.value)
    assert raised.value.__cause__ is error


def test_errors_of_this_package_pass_as_they_are():
    with pytest.raises(DepthError, match='too deep'):
        fail(DepthError('too deep'))
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())


def test_loading_is_quiet_and_leaves_the_settings_of_the_logger():
    from transformers.utils import logging

    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        with quiet_loading():
            assert logging.get_verbosity() == logging.ERROR
            assert not logging.is_progress_bar_enabled()  # pytest's stderr is no terminal
            warnings.warn('unexpected keys', UserWarning, stacklevel=1)
    assert not caught
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before

import pytest

from tosa_ros.synthetic import episode, single


@pytest.fixture(scope='session')
def samples():
    """Single views with many questions, of the seen and the unseen kind of rooms."""
    return [single('test', i, questions=16) for i in range(40)] + [
        single('unseen', i, questions=16) for i in range(20)
    ]


@pytest.fixture(scope='session')
def episodes():
    return [episode('test', i, frames=8, questions=16) for i in range(8)]

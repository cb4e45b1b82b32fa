"""The table of the methods' settings and the dataclasses say the same."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import dataclass, fields

import pytest

from tosa_ros.errors import MergingError
from tosa_ros.merging import (
    METHODS,
    MergingMethod,
    ToMe,
    ToSA,
    method_from,
    settings_of,
    shared_out,
)
from tosa_ros.settings import METHOD, SETTINGS, Number, Setting

# A value beside the default for every setting, and one that is refused.
OTHERS = {
    'keep': (0.5, 1.5),
    'r': ((3, 2, 1), -1),
    'proportional': (False, 'no'),
    'merge_at': ((1, 2), (2, 1)),
    'where': ('output', 'memory'),
    'alpha': ([0.25, 0.5], [0.25, 2]),
    'spatial': ('levels', 'voxels'),
    'length_scale_m': (0.3, 0),
    'heads': ('mean', 'all'),
    'ward': (1, -0.5),
    'targets_at': ('alternate', 'odd'),
    'prune_layers': (0, -1),
    'margin': (0.75, 2),
}


def test_the_table_has_every_field_of_every_method_and_no_other():
    assert set(OTHERS) == set(SETTINGS)
    for name in METHODS:
        assert settings_of(name) == [s for s in SETTINGS if name in SETTINGS[s].methods], name
    assert set(METHOD.kind.choices) == set(METHODS)


@pytest.mark.parametrize('method', list(METHODS))
def test_defaults_are_the_tables(method):
    made = METHODS[method]()
    for name in settings_of(method):
        assert getattr(made, name) == SETTINGS[name].default, name


@pytest.mark.parametrize('setting', OTHERS)
def test_dataclasses_and_table_accept_the_same_values(setting):
    good, bad = OTHERS[setting]
    row = SETTINGS[setting]
    for method in row.methods:
        made = method_from(method, {setting: good})
        assert getattr(made, setting) == row.checked(good) != row.default
        with pytest.raises(MergingError, match=rf'^{setting}: .*; wanted ') as caught:
            METHODS[method](**{setting: bad})
        with pytest.raises(MergingError) as same:
            row.checked(bad, MergingError)
        assert str(caught.value) == str(same.value)


@pytest.mark.parametrize('setting', OTHERS)
def test_values_come_back_from_text_and_from_ros(setting):
    row, (good, _) = SETTINGS[setting], OTHERS[setting]
    for value in (row.default, row.checked(good)):
        assert row.parse(row.kind.text(value)) == value
        assert row.from_ros(row.to_ros(value)) == value
    kinds = {bool: 'bool', int: 'int', float: 'double', str: 'string'}
    assert kinds[type(row.to_ros(row.default))] == row.kind.ros


@pytest.mark.parametrize('method', list(METHODS))
def test_a_setting_of_another_method_is_refused_in_one_line(method):
    for setting in set(OTHERS) - set(settings_of(method)):
        with pytest.raises(MergingError) as caught:
            method_from(method, {setting: OTHERS[setting][0]})
        said = str(caught.value)
        assert said.startswith(f'{setting}: the method {method} has no such setting; wanted one ')
        assert all(other in said for other in SETTINGS[setting].methods)


def test_an_unknown_method_or_setting_is_refused():
    with pytest.raises(MergingError, match=r"merging method 'tosaa': .*did you mean 'tosa'\?"):
        method_from('tosaa')
    with pytest.raises(MergingError, match=r'kepe: the method tome has no such setting$'):
        method_from('tome', {'kepe': 1})


def test_several_methods_share_what_each_has():
    shares = shared_out(['tosa', 'tome', 'none'], {'keep': 0.5, 'alpha': 'uniform'})
    assert shares == {
        'tosa': {'keep': 0.5, 'alpha': 'uniform'},
        'tome': {'keep': 0.5},
        'none': {},
    }
    with pytest.raises(MergingError, match='alpha: the method tome has no such setting'):
        shared_out(['tome', 'pitome'], {'alpha': 'uniform'})


@pytest.mark.parametrize(
    ('setting', 'text', 'value'),
    [
        ('r', '8', 8),
        ('r', '8,4', (8, 4)),
        ('r', '8,0.5', (8, 0.5)),
        ('r', '', None),
        ('merge_at', 'every', 'every'),
        ('merge_at', '2', (2,)),
        ('merge_at', '2, 6,12', (2, 6, 12)),
        ('alpha', '0.9', 0.9),
        ('alpha', '0.1,0.9', (0.1, 0.9)),
        ('proportional', 'False', False),
        ('prune_layers', '3', 3),
    ],
)
def test_text(setting, text, value):
    assert SETTINGS[setting].parse(text) == value


@pytest.mark.parametrize(
    ('setting', 'text', 'said'),
    [
        ('r', '8,2.5', 'tokens to remove a layer'),
        ('r', '-1', 'tokens to remove a layer'),
        ('merge_at', '6,2', 'one of most, few, every, or a rising list of layers, 0 the first'),
        ('alpha', '1.5', 'a weight of the semantic score in 0..1'),
        ('alpha', 'nan', 'one of increase'),
        ('proportional', 'yes', 'true or false'),
        ('keep', 'half', 'a fraction of tokens to keep, above 0 and at most 1'),
        ('length_scale_m', '0', 'a number, above 0 m'),
        ('prune_layers', '2.5', 'a whole number, 0 or more'),
    ],
)
def test_an_error_names_the_bad_text_and_the_wanted(setting, text, said):
    with pytest.raises(MergingError, match=f'^{setting}: {text!r}; wanted .*{said}'):
        SETTINGS[setting].parse(text, MergingError)


@pytest.mark.parametrize(
    ('setting', 'sent', 'value'),
    [
        ('keep', 1, 1.0),
        ('alpha', 0.5, 0.5),
        ('alpha', [0.1, 0.2], (0.1, 0.2)),
        ('merge_at', [2, 6], (2, 6)),
        ('prune_layers', 2, 2),
        ('r', 8, 8),
    ],
)
def test_numbers_of_ros_stand_for_their_text(setting, sent, value):
    assert SETTINGS[setting].from_ros(sent) == value


def test_one_weight_holds_for_every_layer():
    assert ToSA(alpha=0.75).removals(36, 4) == ToSA(alpha=[0.75] * 4).removals(36, 4)
    with pytest.raises(MergingError, match='a list of 3 weights for an encoder of 4 layers'):
        ToSA(alpha=[0.75] * 3).removals(36, 4)


def test_a_method_with_a_setting_of_its_own_is_a_class_and_a_row():
    @METHODS.register('picky')
    @dataclass(frozen=True, kw_only=True)
    class Picky(ToMe):
        patience: float = 2.0

    SETTINGS.register('patience', Setting('patience', 2.0, Number(0, 9), 'How long it waits.'))
    try:
        assert method_from('picky', {'patience': 3.0, 'keep': 0.5}) == Picky(
            patience=3.0, keep=0.5
        )
        with pytest.raises(MergingError, match='patience: 10; wanted a number, 0 to 9'):
            Picky(patience=10)
        with pytest.raises(
            MergingError, match=r'patience: the method tome .*; wanted one of picky'
        ):
            method_from('tome', {'patience': 3.0})
    finally:
        METHODS.unregister('picky')
        SETTINGS.unregister('patience')


def test_every_field_has_its_documentation():
    for name in METHODS:
        cls = METHODS[name]
        pages = '\n'.join(inspect.getdoc(base) or '' for base in cls.__mro__)
        for field in fields(cls):
            assert f'{field.name}: ' in pages, f'{cls.__name__}.{field.name}'
    assert fields(MergingMethod)


def test_the_tables_need_neither_torch_nor_rclpy():
    code = (
        'import sys, tosa_ros.settings as s; list(s.METHODS); s.node_settings("vision_node");'
        'print({"torch", "numpy", "rclpy", "transformers"} & set(sys.modules))'
    )
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == 'set()'

"""Registries: lazy, open to other packages, and never broken by one of them."""

from __future__ import annotations

import sys
import textwrap

import pytest

from tosa_ros.errors import MergingError, MissingDependencyError, TosaError
from tosa_ros.registry import Registry

GROUP = 'tosa_ros.test_things'


class Thing:
    """The base of what the registry of these tests holds."""


class Cup(Thing):
    pass


def registry(known=None, **options):
    return Registry('thing', GROUP, known or {'cup': Cup}, error=MergingError, **options)


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Makes a distribution of one module with entry points, as pip leaves it in site-packages."""

    def make(name, source, entry_points, group=GROUP):
        (tmp_path / f'{name}.py').write_text(textwrap.dedent(source))
        info = tmp_path / f'{name}-1.2.dist-info'
        info.mkdir()
        (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n')
        lines = '\n'.join(f'{key} = {value}' for key, value in entry_points.items())
        (info / 'entry_points.txt').write_text(f'[{group}]\n{lines}\n')
        monkeypatch.delitem(sys.modules, name, raising=False)

    monkeypatch.syspath_prepend(str(tmp_path))
    return make


def test_it_holds_objects_and_names_of_objects_that_are_imported_on_first_use(monkeypatch):
    monkeypatch.delitem(sys.modules, 'this', raising=False)
    things = registry({'cup': Cup, 'zen': 'this:s', 'nested': 'collections:OrderedDict.fromkeys'})
    assert list(things) == ['cup', 'zen', 'nested']
    assert len(things) == 3
    assert 'zen' in things
    assert things['cup'] is Cup
    assert 'this' not in sys.modules
    assert things['zen'].startswith('Gur Mra')
    assert 'this' in sys.modules
    assert callable(things['nested'])


def test_an_unknown_name_lists_the_known_ones_and_what_is_spelt_alike():
    things = registry({'tome': Cup, 'tosa': Cup, 'pitome': Cup})
    with pytest.raises(
        MergingError,
        match=r"^thing 'tosaa': wanted one of tome, tosa, pitome; did you mean 'tosa'\?$",
    ):
        things['tosaa']
    with pytest.raises(MergingError, match=r'wanted one of tome, tosa, pitome$'):
        things['something else']


def test_register_takes_an_object_or_decorates_and_refuses_a_taken_name():
    things = registry()

    @things.register('mug')
    class Mug(Thing):
        pass

    things.register('jug', 'collections:Counter')
    assert things['mug'] is Mug
    assert things['jug'].__name__ == 'Counter'
    with pytest.raises(
        MergingError,
        match=r"'mug' is registered twice: from .*Mug and from .*:Cup; rename",
    ):
        things.register('mug', Cup)
    with pytest.raises(MergingError, match=r"thing 'A Mug' .* lower-case letters"):
        things.register('A Mug', Cup)
    things.unregister('mug')
    assert 'mug' not in things
    with pytest.raises(MergingError, match="thing 'mug': wanted one of cup, jug"):
        things.unregister('mug')


def test_entries_are_of_the_base():
    base = f'{__name__}:Thing'
    things = registry({'cup': Cup, 'one': Cup(), 'number': 7, 'text': str}, base=base)
    assert things['cup'] is Cup
    assert isinstance(things['one'], Cup)
    with pytest.raises(MergingError, match=r"thing 'number' .* is 7; wanted a Thing"):
        things['number']
    with pytest.raises(MergingError, match=r"thing 'text' .*; wanted a Thing"):
        things['text']


def test_another_package_adds_by_entry_point_alone(install):
    install('mugs', 'class Mug: pass', {'mug': 'mugs:Mug'})
    things = registry()
    assert list(things) == ['cup', 'mug']
    assert 'mugs' not in sys.modules
    assert things['mug'].__name__ == 'Mug'
    assert things.origin('mug') == 'mugs:Mug of the distribution mugs 1.2'


def test_a_taken_name_leaves_the_other_package_out_with_one_line(install):
    install('cups', 'class Mine: pass', {'cup': 'cups:Mine', 'bowl': 'cups:Mine'})
    things = registry()
    with pytest.warns(UserWarning, match='left out') as caught:
        assert list(things) == ['cup', 'bowl']
    assert things['cup'] is Cup
    [warning] = [str(one.message) for one in caught]
    assert 'the distribution cups 1.2 is left out' in warning
    assert '\n' not in warning
    assert f'from {Cup.__module__}:Cup and from cups:Mine of the distribution cups 1.2' in warning


@pytest.mark.parametrize(
    ('source', 'target', 'reason'),
    [
        ('import absent_package', 'broken:Mug', "No module named 'absent_package'"),
        ('x = 1', 'broken:Mug', "module 'broken' has no attribute 'Mug'"),
        ('raise RuntimeError("two\\nlines")', 'broken:Mug', 'RuntimeError: two lines'),
        ('Mug = 1', 'broken:', 'cannot be loaded'),
    ],
)
def test_a_broken_package_breaks_its_own_name_alone(install, source, target, reason):
    install('broken', source, {'mug': target})
    things = registry()
    assert list(things) == ['cup', 'mug']
    assert things['cup'] is Cup
    with pytest.raises(MergingError, match=r'of the distribution broken 1\.2') as caught:
        things['mug']
    assert reason in str(caught.value)
    assert '\n' not in str(caught.value)
    with pytest.warns(UserWarning, match="left out: thing 'mug'"):
        assert things.loaded() == {'cup': Cup}
    assert list(things) == ['cup']


def test_a_package_that_needs_another_says_so_itself(install):
    source = """
        from tosa_ros.errors import MissingDependencyError
        raise MissingDependencyError('open3d', 'pointcloud', 'mugs')
    """
    install('mugs', source, {'mug': 'mugs:Mug'})
    with pytest.raises(MissingDependencyError, match='mugs needs the package open3d'):
        registry()['mug']


def test_the_default_error_is_the_root():
    with pytest.raises(TosaError, match="thing 'mug': wanted one of cup"):
        Registry('thing', GROUP, {'cup': Cup})['mug']

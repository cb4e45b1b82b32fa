"""Reports: what is in them, that foreign words stay words, and that pictures are bounded."""

from __future__ import annotations

import base64
import csv
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tosa_ros.errors import DataError
from tosa_ros.evaluation import gallery, provenance
from tosa_ros.evaluation.asking import Asking
from tosa_ros.evaluation.metrics.score import make_score
from tosa_ros.evaluation.questions import Question
from tosa_ros.evaluation.report import plot, plot_csv, score_table, write_report
from tosa_ros.evaluation.report.plot import MARKERS
from tosa_ros.evaluation.report.tables import category_table, main_scores
from tosa_ros.frames import Frame

SCRIPT = '<script>alert("x")</script>'
ODD = f'What is this? {SCRIPT} & "it" | \x1b]0;t\x07'


def score(overall, metric='Right answers', **more):
    interval = [overall - 4, overall + 4]
    return {'metric': metric, 'overall': overall, 'interval_95': interval, 'by_category': more}


def method(*scores, tokens=64.0):
    cost = {'tokens_before': 256.0, 'tokens_after': tokens, 'spatial': {'metric': 4}}
    return {'answered': 4, 'scores': list(scores), 'cost': cost}


def difference(label, against='none', points=-1.5, p=0.03):
    interval = (points - 2, points + 2)
    return {
        'label': label,
        'against': against,
        'points': points,
        'interval': interval,
        'p': p,
        'better': 1,
        'worse': 3,
    }


@pytest.fixture
def results():
    methods = {
        'none': method(score(50.0, things=50.0), tokens=256.0),
        'tosa-0.25': method(score(48.5, things=48.5)),
        'tome-0.25': method(score(47.0, things=47.0)),
    }
    failure = {
        'question_id': 7,
        'episode': 'kitchen',
        'category': 'things',
        'question': ODD,
        'answer': 'a <b>cup</b>',
        'said': {'none': 'a cup', 'tosa-0.25': SCRIPT},
        'values': {'none': 100.0, 'tosa-0.25': 0.0},
    }
    made = {
        'command': f'tosa eval jsonl --data {SCRIPT}',
        'versions': {'tosa_ros': '0.1.0', 'torch': '2.13.0'},
        'hardware': {
            'processor': 'A CPU',
            'cores': 2,
            'memory_gb': 8.0,
            'gpu': None,
            'system': 'Linux 6 x86_64',
        },
    }
    example = {'question': ODD, 'answer': None, 'said': dict.fromkeys(methods, SCRIPT)}
    return {
        'benchmark': SCRIPT,
        'questions': 4,
        'scored': 4,
        'guessing': {},
        'methods': methods,
        'differences': [
            difference('tosa-0.25'),
            difference('tome-0.25', points=-3.0, p=0.0004),
            difference('tome-0.25', 'tosa-0.25', -1.5, 0.5),
        ],
        'not_evaluated': {SCRIPT: SCRIPT},
        'problems': [SCRIPT + '\x1b'],
        'judge_errors': {},
        'live': None,
        'settings': {'model': SCRIPT},
        'judge': {'judge': SCRIPT},
        'made': [made],
        'failures': [failure],
        'examples': [example],
    }


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text = [], ''
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_differences_and_p_stand_beside_the_scores(results):
    head, rows = score_table(results)
    assert head == ['method', 'answered', 'tokens', 'Right answers', 'against none', 'p']
    assert rows[0] == ['none', '4/4', '256', '50.0 (46.0 to 54.0)', '', '']
    assert rows[2][3:] == ['47.0 (43.0 to 51.0)', '-3.0 (-5.0 to -1.0)', '0.0004']
    results['differences'] = []
    assert score_table(results)[0][-1] == 'Right answers'


def test_one_metric_is_compared_where_a_judge_failed_for_one_method(results):
    judged = score(80.0, 'LLM-Match (judge m)', things=80.0)
    results['methods']['none']['scores'].insert(0, judged)
    assert {s['metric'] for s in main_scores(results).values()} == {'Right answers'}
    assert category_table(results)[1] == [['things', '50.0', '48.5', '47.0']]
    assert {row['metric'] for row in csv.DictReader(io.StringIO(plot_csv(results)))} == {
        'Right answers'
    }


def test_the_plots_numbers_are_a_table(results):
    rows = list(csv.DictReader(io.StringIO(plot_csv(results))))
    assert [row['method'] for row in rows] == ['none', 'tosa-0.25', 'tome-0.25']
    assert rows[0]['against'] == rows[0]['p'] == ''
    assert {name: float(rows[2][name]) for name in ('tokens', 'score', 'low_95', 'high_95')} == {
        'tokens': 64,
        'score': 47,
        'low_95': 43,
        'high_95': 51,
    }
    assert (rows[2]['against'], rows[2]['difference'], rows[2]['p']) == ('none', '-3.0', '0.0004')


def test_each_method_has_a_marker_and_a_place_of_its_own(results):
    pytest.importorskip('matplotlib')
    for label in ('tofu-0.25', 'pitome-0.25'):
        results['methods'][label] = method(score(47.0))
    drawing = plot(results, 'svg').decode()
    # Markers are drawn with `use`, by a shape's id at a place.
    places = re.findall(r'<use xlink:href="#(\w+)" x="([\d.]+)" y="([\d.]+)" style="fill', drawing)
    shapes = {shape for shape, _, _ in places}
    assert len(shapes) >= 5
    assert len({x for _, x, _ in places}) >= 5  # four of the five leave the same 64 tokens
    assert len(set(MARKERS)) == len(MARKERS)
    assert plot(results, 'svg') == drawing.encode()  # the same run, the same file
    assert plot(results) == plot(results)
    assert plot(results).startswith(b'\x89PNG')


def test_any_name_of_a_metric_is_drawn(results):
    pytest.importorskip('matplotlib')
    for one in results['methods'].values():
        one['scores'][0]['metric'] = r'LLM-Match (judge $\foo{$, ' + 'a long name, ' * 20 + ')'
    assert plot(results).startswith(b'\x89PNG')


def test_a_report_without_known_tokens_has_no_plot(results, tmp_path):
    for one in results['methods'].values():
        one['cost']['tokens_after'] = None
    write_report(tmp_path, results)
    assert not (tmp_path / 'plot.png').exists()
    assert '| none | 4/4 | - |' in (tmp_path / 'report.md').read_text()


def test_the_page_is_self_contained_escaped_and_fits_phones(results, tmp_path):
    pytest.importorskip('matplotlib')
    write_report(tmp_path, results, {7: jpeg((30, 40))})
    source = (tmp_path / 'report.html').read_text()
    page = Page(source)
    assert '<script' not in source.lower()
    assert page.all('script') == []
    assert page.text.count(SCRIPT) >= 8  # shown as text wherever somebody wrote it
    for image in page.all('img'):
        assert image['src'].startswith('data:image/')
    assert len(page.all('img')) == 2
    viewport, policy = (
        [m for m in page.all('meta') if key in m] for key in ('name', 'http-equiv')
    )
    assert viewport[0]['content'] == 'width=device-width, initial-scale=1'
    assert policy[0]['content'].startswith("default-src 'none'")
    assert not re.search(r'(src|href)="?https?:', source)
    assert '\x1b' not in source
    made = (
        'tosa_ros 0.1.0, torch 2.13.0; processor A CPU, cores 2, memory_gb 8.0, gpu none, system'
    )
    assert made in page.text
    assert 'tosa-0.25: ' + SCRIPT + ' (0 %)' in page.text
    text = (tmp_path / 'report.md').read_text()
    assert '<script' not in text.replace(r'\<', '')
    assert '![the frames and their tokens](failure-1.jpg)' in text
    assert (tmp_path / 'failure-1.jpg').read_bytes() == jpeg((30, 40))
    assert {'plot.png', 'plot.svg', 'plot.csv'} <= {file.name for file in tmp_path.iterdir()}


def test_pictures_of_an_earlier_report_go(results, tmp_path):
    write_report(tmp_path, results, {7: jpeg((30, 40))})
    write_report(tmp_path, results)
    assert not list(tmp_path.glob('failure-*'))


def jpeg(size):
    stream = io.BytesIO()
    Image.new('RGB', size, 'red').save(stream, 'JPEG')
    return stream.getvalue()


def asked(values, categories=None):
    """Questions in an own category each, unless named, and their scores by method."""
    count = len(next(iter(values.values())))
    categories = categories or ['things'] * count
    questions = [
        Question(i, f'What is {i}?', ('a cup',), categories[i], f'e{i}') for i in range(count)
    ]
    scores = {
        label: make_score('m', dict(enumerate(of_method)), categories)
        for label, of_method in values.items()
    }
    said = {label: dict.fromkeys(range(count), 'a mug') for label in values}
    benchmark = SimpleNamespace(scored=questions)
    return benchmark, scores, said


def test_failures_on_which_methods_differ_come_first():
    benchmark, scores, said = asked({'none': [1, 0, 1, 1, 0], 'tosa': [1, 0, 0, 1, 0.6]})
    found = gallery.failures(benchmark, scores, said)
    assert [one['question_id'] for one in found] == [2, 4, 1]
    assert found[0]['values'] == {'none': 100.0, 'tosa': 0.0}
    assert found[0]['said'] == {'none': 'a mug', 'tosa': 'a mug'}
    assert gallery.failures(benchmark, scores, said, 0) == []


def test_categories_and_episodes_of_failures_take_turns():
    benchmark, scores, said = asked({'none': [0] * 6}, ['a', 'a', 'a', 'b', 'b', 'c'])
    found = gallery.failures(benchmark, scores, said, 4)
    assert [one['category'] for one in found] == ['a', 'b', 'c', 'a']
    benchmark.scored = [replace(q, episode=f'e{min(q.id, 3)}') for q in benchmark.scored]
    found = gallery.failures(benchmark, scores, said, 5)
    assert [one['episode'] for one in found] == ['e0', 'e3', 'e1', 'e2', 'e3']


class Episodes:
    """Frames of an episode that differ, and are hard to compress."""

    problems = ()

    def frames(self, episode):
        if episode == 'gone':
            raise DataError('no such episode')
        rng = np.random.default_rng(0)
        return [Frame(rng.integers(0, 255, (240, 320, 3), np.uint8)) for _ in range(5)]

    def sampled(self, count, k):
        return np.round(np.linspace(0, count - 1, min(k, count))).astype(int).tolist()

    def note(self, problem):
        raise AssertionError(problem)


def test_pictures_are_bounded_in_bytes_and_a_missing_episode_is_left_out(monkeypatch):
    shown = [{'question_id': i, 'episode': 'gone' if i == 0 else 'e'} for i in range(6)]
    found = gallery.pictures(Episodes(), shown, Asking(frames=4))
    assert list(found) == [1, 2, 3, 4, 5]
    sheet = Image.open(io.BytesIO(found[1]))
    assert sheet.format == 'JPEG'
    assert sheet.width == gallery.WIDTH_PX
    size = len(found[1])
    monkeypatch.setattr(gallery, 'MAX_BYTES', 2 * size + 10)
    assert list(gallery.pictures(Episodes(), shown, Asking(frames=4))) == [1, 2]


def test_a_run_shows_failures_with_frames_and_merged_tokens(
    openeqa, checkpoint, command, tmp_path, monkeypatch, capsys
):
    pytest.importorskip('matplotlib')
    out = tmp_path / 'run'
    args = ('eval', 'openeqa', '--data', openeqa, '--model', checkpoint, '--frames', 2)
    args += ('--max-new-tokens', 4, '--out', out, '--method', 'none', '--method', 'tosa')
    assert command(*args) == 0
    page = Page((out / 'report.html').read_text())
    pictures = [image for image in page.all('img') if 'jpeg' in image['src']]
    assert len(pictures) == 4  # all four questions, which random weights answer wrong
    data = base64.b64decode(pictures[0]['src'].partition(',')[2])
    # Colour and ToSA's tokens; none merges nothing.
    assert Image.open(io.BytesIO(data)).width == 2 * gallery.WIDTH_PX + 6
    assert (out / 'failure-1.jpg').read_bytes() == data
    assert 'tosa eval openeqa --data' in page.text
    assert command(*args, '--gallery', 1) == 0
    assert [file.name for file in out.glob('failure-*')] == ['failure-1.jpg']
    assert command(*args, '--gallery', 0) == 0
    assert not list(out.glob('failure-*'))
    # Three command lines made it, on one machine.
    assert len(provenance.made_by(out)) == 3
    with pytest.raises(Exception, match='--gallery -1; wanted'):
        command(*args, '--gallery', -1)


def test_what_made_a_run_is_kept_once_and_gathered_from_its_shards(tmp_path):
    provenance.add_command(tmp_path, 'tosa eval a')
    provenance.add_command(tmp_path, 'tosa eval a')
    provenance.add_command(tmp_path / 'shard-1-of-2', 'tosa eval a --shard 1/2')
    made = provenance.made_by(tmp_path)
    assert [one['command'] for one in made] == ['tosa eval a', 'tosa eval a --shard 1/2']
    assert made[0]['versions'].keys() >= {'tosa_ros', 'python', 'torch', 'numpy'}
    (tmp_path / provenance.MADE).write_text('{"command": 7, "versions": {}, "hardware": {}}\n')
    with pytest.raises(DataError, match='line 1 is damaged'):
        provenance.made_by(tmp_path)
    machine = made[0]['hardware']
    assert machine['cores'] >= 1
    assert machine['memory_gb'] > 0
    assert machine['processor']


def test_a_key_on_the_command_line_is_hidden(monkeypatch):
    from tosa_ros.cli.judging import command_line

    monkeypatch.setenv('MY_KEY', 'sk-Zq81mPf3xLw9TtB0')
    words = ['eval', 'openeqa', '--judge-key-env', 'MY_KEY', '--prompt', 'sk-Zq81mPf3xLw9TtB0 {q}']
    args = SimpleNamespace(argv=words, judge_key_env='MY_KEY')
    assert command_line(args) == "tosa eval openeqa --judge-key-env MY_KEY --prompt '[key] {q}'"

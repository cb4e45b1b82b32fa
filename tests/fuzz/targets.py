"""Somebody's input of every kind, damaged as some bytes say, and the code that reads it.

One function a kind: it takes bytes that choose the damage, and raises whatever is neither a result
nor one line. Hypothesis draws the bytes in test_everything.py, atheris in guided.py.
"""

from __future__ import annotations

import copy
import io
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from hostile import result_or_line
from PIL import Image

import tosa_ros
from tosa_ros.frames import Frame, Intrinsics
from tosa_ros.sources import read_folder, write_folder

ASSETS = Path(tosa_ros.__file__).parent / 'assets'
ODD = (
    None, True, False, -1, 0, 1, 7, 2**31, 2**63, -(2**63), 10**30, 0.5, 1e308, float('nan'),
    float('inf'), '', ' ', 'x', 'x' * 300, '../x', '/etc/passwd', '\x00', '\x1b[31m\n', '\ud800',
    '🪑', 'nan', [], {}, [[]], {'a': {}}, [None], ['x'] * 40, '9' * 5000,
)  # fmt: skip


def damaged(base: bytes, draws: random.Random) -> bytes:
    """Bytes with some changed, cut out, doubled or missing."""
    data = bytearray(base)
    for _ in range(draws.randrange(1, 8)):
        if not data:
            break
        at = draws.randrange(min(len(data), draws.choice((64, 1000, len(data)))))
        match draws.randrange(6):
            case 0:
                data[at] ^= 1 << draws.randrange(8)
            case 1:
                data[at] = draws.choice((0, 1, 127, 128, 255))
            case 2:
                data[at : at + 4] = draws.choice((b'\xff' * 4, b'\0' * 4, b'\xff\xff\xff\x7f'))
            case 3:
                del data[at : at + draws.choice((1, 4, 100))]
            case 4:
                data[at:at] = data[at : at + draws.choice((1, 8, 500))]
            case 5:
                data = data[: draws.randrange(len(data) + 1)]
    return bytes(data)


def odd(value: Any, draws: random.Random) -> Any:
    """JSON with one to three values or names in it replaced."""
    value = json.loads(json.dumps(value))
    for _ in range(draws.randrange(1, 4)):
        places = [*_places(value)]
        if not places:
            return copy.deepcopy(draws.choice(ODD))
        into, key = draws.choice(places)
        match draws.randrange(5):
            case 0:
                del into[key]
            case 1 if isinstance(into, dict):
                into[draws.choice(('x', '', 'id', '\x1b'))] = into.pop(key)
            case _:
                into[key] = copy.deepcopy(draws.choice(ODD))
    return value


def _places(value: Any) -> Any:
    below = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in below:
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def frames(count: int = 2) -> list[Frame]:
    rng = np.random.default_rng(0)
    camera = Intrinsics(40.0, 40.0, 15.5, 11.5, 32, 24)
    return [
        Frame(
            rng.integers(0, 255, (24, 32, 3), np.uint8),
            depth_m=rng.integers(500, 4000, (24, 32)).astype(np.float32) / 1000,
            intrinsics=camera,
            pose=np.eye(4),
        )
        for _ in range(count)
    ]


def _written(text: Any, path: Path) -> None:
    path.write_text(json.dumps(text), 'utf-8')


def images(root: Path) -> Callable[[bytes], None]:
    from tosa_ros.errors import FrameError
    from tosa_ros.pictures import FORMATS, open_picture

    bases = []
    for form in FORMATS:
        stream = io.BytesIO()
        Image.fromarray(frames(1)[0].rgb).save(stream, form)
        bases.append(stream.getvalue())

    def feed(data: bytes) -> None:
        draws = random.Random(data)
        picture = damaged(draws.choice(bases), draws)
        result_or_line(lambda: open_picture(picture, 'it', FrameError).convert('RGB'), 50_000_000)

    return feed


def messages(root: Path) -> Callable[[bytes], None]:
    from types import SimpleNamespace

    from tosa_ros import messages as reading

    numbers = (0, 1, 2, 24, 32, 2**16, 2**31, 2**32 - 1)
    reals = (0.0, -1.0, 40.0, 1e300, -1e300, float('nan'), float('inf'), 5e-324)
    png = io.BytesIO()
    Image.fromarray(frames(1)[0].rgb).save(png, 'PNG')
    grey = io.BytesIO()
    Image.fromarray(np.full((24, 32), 900, np.uint16)).save(grey, 'PNG')
    forms = (
        'rgb8', 'bgra8', 'mono16', '16UC1', '32FC1', 'yuyv', 'uyvy', 'bayer', '', '\x1b',
        'nv12', 'nv21', 'bayer_rggb8', 'bayer_gbrg16', 'rgba16',
    )  # fmt: skip

    def feed(data: bytes) -> None:
        draws = random.Random(data)
        pick = draws.choice
        stamp = SimpleNamespace(sec=pick((0, 2**31 - 1, -(2**31))), nanosec=pick(numbers))
        header = SimpleNamespace(stamp=stamp, frame_id=pick(('', 'a', '\x1b[31m')))
        raw = SimpleNamespace(
            header=header, encoding=pick(forms), width=pick(numbers), height=pick(numbers),
            step=pick(numbers), is_bigendian=pick((0, 1)),
            data=np.frombuffer(draws.randbytes(pick((0, 10, 24 * 32 * 4, 24 * 32 * 3))), np.uint8),
        )  # fmt: skip
        packed = SimpleNamespace(
            header=header,
            format=pick(
                (
                    'jpeg',
                    'png',
                    '16UC1; compressedDepth',
                    '32FC1; compressedDepth png',
                    '16UC1; compressedDepth rvl',
                    '16UC1; png compressed',
                    'bayer_rggb8; png compressed',
                    'zstd',
                    'h264',
                )
            ),
            data=damaged(pick((png, grey)).getvalue(), draws),
        )
        region = SimpleNamespace(
            x_offset=pick(numbers), y_offset=pick(numbers), width=pick(numbers),
            height=pick(numbers), do_rectify=False,
        )  # fmt: skip
        info = SimpleNamespace(
            header=header, width=pick(numbers), height=pick(numbers), distortion_model='',
            d=[pick(reals) for _ in range(pick((0, 5)))], k=[pick(reals) for _ in range(9)],
            r=[pick(reals) for _ in range(9)], p=[pick(reals) for _ in range(12)],
            binning_x=pick(numbers), binning_y=pick(numbers), roi=region,
        )  # fmt: skip
        pose = SimpleNamespace(
            position=SimpleNamespace(**{axis: pick(reals) for axis in 'xyz'}),
            orientation=SimpleNamespace(**{axis: pick(reals) for axis in 'xyzw'}),
        )
        builder = reading.FrameBuilder(lambda what, line: None, rectified=pick((True, False)))

        def frame() -> Any:
            builder.camera_info(info)
            return builder.frame(
                pick((raw, packed)), pick((raw, packed, None)), pick((True, False))
            )

        for call in (
            lambda: reading.rgb_from_message(raw),
            lambda: reading.depth_from_message(raw),
            lambda: reading.rgb_from_message(packed),
            lambda: reading.depth_from_message(packed),
            lambda: reading.camera_from_info(info, pick((True, False))),
            lambda: reading.pose_from_message(pose),
            frame,
        ):
            result_or_line(call, 50_000_000)

    return feed


def poses(root: Path) -> Callable[[bytes], None]:
    folder = root / 'folder'
    if not folder.exists():
        write_folder(folder, frames())
    files = [folder / name for name in ('00000.txt', 'intrinsic_color.txt', 'intrinsic_depth.txt')]
    texts = [file.read_bytes() for file in files]
    words = (b'nan', b'inf', b'-1', b'0', b'1e999', b'x', b'', b'9' * 5000, b'\xff', b'1e-320')

    def feed(data: bytes) -> None:
        draws = random.Random(data)
        for file, text in zip(files, texts, strict=True):
            parts = text.split()
            for _ in range(draws.randrange(3)):
                parts[draws.randrange(len(parts))] = draws.choice(words)
            rows = [b' '.join(parts[i : i + 4]) for i in range(0, len(parts), 4)]
            file.write_bytes(draws.choice((b'\n'.join(rows), damaged(text, draws))))
        result_or_line(lambda: [*read_folder(folder)], 50_000_000)

    return feed


def questions(root: Path) -> Callable[[bytes], None]:
    from tosa_ros.evaluation.benchmarks import load_benchmark
    from tosa_ros.ros.questions import parse_question

    openeqa = [
        {'question': f'What is {i}?', 'answer': 'a', 'category': 'c', 'question_id': f'q{i}',
         'episode_history': 'scannet-v0/0', 'extra_answers': ['b']} for i in range(3)
    ]  # fmt: skip
    lines = [{'id': i, 'question': 'q?', 'answer': 'a', 'images': 'x.png'} for i in range(3)]
    vsi = [
        {'id': i, 'question': 'How many?', 'question_type': 'object_counting',
         'ground_truth': '2', 'dataset': 'scannet', 'scene_name': 's', 'options': None}
        for i in range(3)
    ]  # fmt: skip
    gqa = {str(i): {'question': 'q?', 'answer': 'a', 'imageId': '1'} for i in range(3)}
    kinds = {'openeqa': openeqa, 'jsonl': lines, 'vsibench': vsi, 'gqa': gqa}

    def feed(data: bytes) -> None:
        draws = random.Random(data)
        name, base = draws.choice([*kinds.items()])
        path = root / ('q.jsonl' if name in ('jsonl', 'vsibench') else 'q.json')
        value = odd(base, draws)
        if path.suffix == '.jsonl':
            value = value if isinstance(value, list) else [value]
            text = '\n'.join(map(json.dumps, value)).encode()
        else:
            text = json.dumps(value).encode()
        path.write_bytes(draws.choice((text, text, damaged(text, draws))))

        def read() -> Any:
            benchmark = load_benchmark(name, path)
            return [benchmark.prompt(q) for q in benchmark.questions]

        result_or_line(read)
        asked = json.dumps(odd({'id': 'a', 'text': 'what?'}, draws)).encode()
        asked = draws.choice((asked, damaged(asked, draws))).decode(errors='surrogateescape')
        result_or_line(lambda: parse_question(asked))

    return feed


def runs(root: Path) -> Callable[[bytes], None]:
    from tosa_ros.evaluation.compare import differences, load_entries
    from tosa_ros.evaluation.run_folder import RunFolder
    from tosa_ros.merging import ToMe

    score = {'metric': 'm', 'overall': 50.0, 'interval_95': [10.0, 90.0], 'by_category': {}}
    results = {'methods': {'tome': {'scores': [score], 'cost': {'tokens_after': 9.0}}}}
    values = [{'metric': 'm', 'values': {'1': 1.0, '2': 0.0}, 'weights': {'1': 1.0, '2': 1.0}}]
    answer = {'question_id': 1, 'answer': 'a', 'frames': 2, 'spatial': 'none', 'vision_ms': 1.0}

    def feed(data: bytes) -> None:
        draws, folder = random.Random(data), root / 'run'
        shutil.rmtree(folder, ignore_errors=True)
        (folder / 'tome').mkdir(parents=True)
        _written(odd({'a': 1}, draws), folder / 'settings.json')
        _written(odd(results, draws), folder / 'scores.json')
        _written(odd(values, draws), folder / 'tome' / 'values.json')
        text = json.dumps(odd([answer], draws)).strip('[]').encode() + b'\n'
        text = draws.choice((text, damaged(text, draws)))
        (folder / 'tome' / 'answers.jsonl').write_bytes(text)

        def take_up() -> None:
            with RunFolder(folder, {'a': 1}) as run, run.journal('tome', ToMe(keep=0.5)):
                pass

        result_or_line(take_up)
        result_or_line(lambda: differences(load_entries([folder])))

    return feed


def bags(root: Path) -> Callable[[bytes], None]:
    from tosa_ros.sources.bags import BagFrames, folder_to_bag

    folder = write_folder(root / 'episode', frames())
    files = []
    for storage in ('mcap', 'sqlite3'):
        folder_to_bag(folder, root / storage, storage=storage, image_format='png')
        [file] = (f for f in (root / storage).iterdir() if f.suffix in ('.mcap', '.db3'))
        files.append((file, file.read_bytes()))
        for text in (root / storage).glob('*.yaml'):
            files.append((text, text.read_bytes()))

    def feed(data: bytes) -> None:
        draws = random.Random(data)
        file, whole = draws.choice(files)
        file.write_bytes(damaged(whole, draws))
        try:

            def read() -> Any:
                bag = BagFrames(file.parent)
                return bag.pick(range(len(bag)))

            result_or_line(read)
        finally:
            file.write_bytes(whole)

    return feed


def checkpoints(root: Path) -> Callable[[bytes], None]:
    from tosa_ros.pipeline import VqaPipeline

    folder = root / 'checkpoint'
    shutil.copytree(ASSETS / 'tiny-vlm', folder)
    files = {
        name: json.loads((folder / name).read_text())
        for name in ('config.json', 'tokenizer_config.json', 'preprocessor_config.json',
                     'processor_config.json', 'generation_config.json')
    }  # fmt: skip

    def feed(data: bytes) -> None:
        draws = random.Random(data)
        name, base = draws.choice([*files.items()])
        text = json.dumps(odd(base, draws)).encode()
        (folder / name).write_bytes(draws.choice((text, text, text, damaged(text, draws))))
        try:

            def ask() -> Any:
                pipeline = VqaPipeline.from_pretrained(folder)
                return pipeline.ask(frames(1)[0], 'what is there?', max_new_tokens=2)

            result_or_line(ask)
        finally:
            (folder / name).write_text(json.dumps(base))

    return feed


KINDS: dict[str, Callable[[Path], Callable[[bytes], None]]] = {
    make.__name__: make for make in (images, messages, poses, questions, runs, bags, checkpoints)
}

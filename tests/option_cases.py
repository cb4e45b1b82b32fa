"""A case for every option of every command, for test_every_option."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from tosa_ros.errors import TosaError
from tosa_ros.settings import METHOD, SETTINGS, Flag
from tosa_ros.settings.graph import STREAMS
from tosa_ros.settings.nodes import EXTRINSIC, MAP_FRAME


@dataclass(frozen=True)
class Case:
    """The words of an option, and how the line that they are added to differs from the base.

    also: what is added to the base. without: what is taken from it. needed: the option is, so
    that the line without it is refused.
    """

    words: str
    also: str = ''
    without: str = ''
    needed: bool = False


# Handled once for all commands: test_console.
EVERYWHERE = {'--help', '--verbose', '--quiet', '--debug'}


def of_setting(row):
    """A setting with another value than its default; so a new row needs no case."""
    others = row.methods and METHOD.default not in row.methods
    also = f'--method {row.methods[0]}' if others else ''
    kind = getattr(row.kind, 'of', row.kind)
    if isinstance(kind, Flag):
        return Case(row.option.replace('--', '--no-' if row.default else '--', 1), also)
    for text in (*reversed(getattr(kind, 'choices', ())), '0.5', '0.3', '2', '1,2'):
        with contextlib.suppress(TosaError):
            if row.parse(text) != row.default:
                return Case(f'{row.option} {text}', also)
    raise AssertionError(f'{row.name}: no other value is known')


METHOD_SETTINGS = {METHOD.option: Case('--method none')} | {
    row.option: of_setting(row) for row in SETTINGS.loaded().values()
}
# The towers here have few layers: two may be half of them.
METHOD_SETTINGS['--prune-layers'] = Case('--prune-layers 0', '--method tofu')
MODEL = {
    '--model': Case('--model /gone'),
    '--device': Case('--device cuda:99'),
    '--dtype': Case('--dtype bfloat16'),
    '--tiles': Case('--tiles'),
    '--quantize': Case('--quantize int8'),
    '--attn': Case('--attn flash_attention_2'),
    '--revision': Case('--revision v1'),
    '--device-map': Case('--device-map sideways'),
    '--tower': Case('--tower /gone.onnx'),
    '--compile': Case('--compile'),
}
FRAMES = {
    '--rgb': Case('--rgb {photos}/album/1.jpg'),
    '--depth': Case(
        '--depth {rgbd}/00000-depth.png --depth-scale 1000', '{rgbd}/00000-rgb.png', '{rgbd} '
    ),
    '--depth-scale': Case('--depth-scale 500'),
    '--intrinsics': Case('--intrinsics 90,90,31,23'),
    '--folder': Case('--folder {photos}/album'),
    '--layout': Case('--layout scans'),
    '--rotate': Case('--rotate 90'),
    '--frames': Case('--frames 2'),
    '--times': Case('--times 0.5', '{photos}/walk.mp4', '{rgbd} '),
    '--depth-model': Case('--depth-model {depth_model}'),
    '--json': Case('--json'),
}
JUDGE = '--judge-url http://127.0.0.1:9/v1 --judge-model m'
ASKING = {
    '--frames': Case('--frames 2'),
    '--depth': Case('--depth monocular'),
    '--depth-model': Case('--depth-model {depth_model}'),
    '--rotate': Case('--rotate 90'),
    '--blind': Case('--blind'),
    '--limit': Case('--limit 1'),
    '--shard': Case('--shard 1/2'),
    '--batch': Case('--batch 3'),
    '--max-new-tokens': Case('--max-new-tokens 9'),
    '--trained-frames': Case('--trained-frames 2'),
    '--gflops': Case('--gflops'),
    '--gallery': Case('--gallery 2'),
    '--prompt': Case('--prompt A:{{question}}'),
    '--out': Case('--out {questions}/run'),
    '--json': Case('--json'),
    '--judge-url': Case(JUDGE),
    '--judge-model': Case('--judge-model other', JUDGE),
    '--judge-prompts': Case('--judge-prompts /gone', JUDGE),
    '--judge-max-tokens': Case('--judge-max-tokens 512', JUDGE),
    '--judge-timeout': Case('--judge-timeout 0', JUDGE),
    '--judge-key-env': Case('--judge-key-env KEY'),
}
SERVED = '--answerer openai --base-url http://127.0.0.1:9/v1'
ANSWERER = {
    '--answerer': Case(SERVED),
    '--base-url': Case('--base-url http://localhost:9/v1', '--answerer openai', needed=True),
    '--key-env': Case('--key-env KEY'),
    '--server-timeout': Case('--server-timeout 0', SERVED),
}
WORKERS = {
    '--workers': Case('--workers ray'),
    '--ray-address': Case('--ray-address auto', '--workers ray'),
    '--num-workers': Case('--num-workers 3', '--workers ray'),
    '--cpus-per-worker': Case('--cpus-per-worker 0.5', '--workers ray'),
    '--gpus-per-worker': Case('--gpus-per-worker 1', '--workers ray'),
}
BENCHMARK = {
    '--data': Case('--data {questions}/gone.json'),
    '--annotations': Case('--annotations {questions}/fewer.json'),
    '--frames-root': Case('--frames-root {photos}'),
    '--depth-scale': Case('--depth-scale 500'),
    '--layout': Case('--layout scans'),
    '--split': Case('--split val'),
    '--scenes': Case('--scenes walks'),
    '--dry-run': Case('--dry-run', '', '--dry-run'),
}
TOPICS = {
    '--camera': Case('--camera zed'),
    '--image-topic': Case('--image-topic /other'),
    '--depth-topic': Case('--depth-topic none'),
    '--camera-info-topic': Case('--camera-info-topic none'),
    '--depth-camera-info-topic': Case('--depth-camera-info-topic /other'),
    '--pose-topic': Case('--pose-topic /other'),
    '--slop': Case('--slop 0.01'),
}
EVAL = (
    MODEL
    | ANSWERER
    | WORKERS
    | METHOD_SETTINGS
    | ASKING
    | BENCHMARK
    | {'--json': Case('--json', '', '--json')}
)
SCORE = BENCHMARK | {
    '--frames': ASKING['--frames'],
    '--limit': Case('--limit 1'),
    '--predictions': Case('--predictions {questions}/other.json'),
    '--against': Case('--against {questions}/other.json'),
    '--out': Case('--out {tmp}/scored'),
    '--json': Case('--json', '', '--json'),
    '--judge-url': Case('--judge-url http://127.0.0.1:9/v1'),
    '--judge-model': Case('--judge-model m'),
    '--judge-prompts': Case('--judge-prompts /gone'),
    '--judge-key-env': Case('--judge-key-env KEY'),
    '--judge-max-tokens': Case('--judge-max-tokens 99'),
    '--judge-timeout': Case('--judge-timeout 9'),
}
SCORE_BASE = '--data {questions}/NAME.json --predictions {questions}/said.json --json'
EVAL_BASE = '--data {questions}/NAME.json --model {model} --dry-run --json'
ANNOTATED = ('sqa3d', 'vqav2', 'vqav2-counting')
OFFLINE, LIVE = '--model {model} --offline', '--live --out {tmp}/run'
CASES = {
    'ask': FRAMES
    | MODEL
    | METHOD_SETTINGS
    | {
        '--question': Case('--question Why?'),
        '--each': Case('--each'),
        '--questions': Case('--questions {questions}/r.json'),
        '--out': Case('--out {tmp}/answers.jsonl'),
        '--batch': Case('--batch 3', '--each'),
        '--max-new-tokens': Case('--max-new-tokens 1'),
        '--trained-frames': Case('--trained-frames 1', '--frames 2'),
        '--temperature': Case('--temperature 5'),
        '--top-p': Case('--top-p 0.5'),
        '--seed': Case('--seed 3', '--temperature 9'),
        '--system': Case("--system 'answer in one word'"),
        '--stop': Case('--stop a --stop i'),
        '--overlay': Case('--overlay {tmp}/o.png'),
    },
    'view': FRAMES
    | MODEL
    | METHOD_SETTINGS
    | {
        '--tower': Case('--tower so400m'),
        '--out': Case('--out {tmp}/v.png'),
        '--cloud': Case('--cloud {tmp}/c.ply'),
    },
    'export': METHOD_SETTINGS
    | {
        '--format': Case('--format onnx', '', '--format torch', needed=True),
        '--out': Case('--out {tmp}/other.pt2', '', '--out {tmp}/t.pt2', needed=True),
        '--depth': Case('--depth relative'),
        '--device': MODEL['--device'],
        '--dtype': MODEL['--dtype'],
        '--json': Case('--json'),
    },
    'info': {'--json': Case('--json')},
    'demo': {'--out': Case('--out /proc/x')},
    'compare': {
        '--metric': Case("--metric 'Token F1'"),
        '--json': Case('--json'),
    },
    'replay': MODEL
    | ANSWERER
    | METHOD_SETTINGS
    | ASKING
    | TOPICS
    | {
        '--questions': Case('--questions {questions}/r.json'),
        '--offline': Case('--offline', '', '--offline', needed=True),
        '--live': Case('--live --out {tmp}/run', '', OFFLINE, needed=True),
        '--rate': Case('--rate 2', LIVE, OFFLINE),
        '--namespace': Case('--namespace robot', LIVE, OFFLINE),
        '--timeout': Case('--timeout 5', LIVE, OFFLINE),
        '--depth-scale': Case('--depth-scale 500'),
    },
    'bag info': TOPICS
    | {
        '--depth-scale': Case('--depth-scale 500'),
        '--json': Case('--json'),
    },
    'bag from-episode': {
        '--out': Case('--out {tmp}/other'),
        '--depth-scale': Case('--depth-scale 500'),
        '--layout': Case('--layout scans'),
        '--rotate': Case('--rotate 90'),
        '--storage': Case('--storage sqlite3'),
        '--format': Case('--format jpeg'),
        '--rate': Case('--rate 2'),
    },
    'bag to-episode': TOPICS
    | {
        '--out': Case('--out {tmp}/other'),
        '--depth-scale': Case('--depth-scale 500'),
        '--rotate': Case('--rotate 90'),
        '--every': Case('--every 2'),
    },
    'world': {
        '--out': Case('--out {tmp}/other'),
        '--split': Case('--split val'),
        '--episodes': Case('--episodes 2'),
        '--start': Case('--start 1'),
        '--frames': Case('--frames 3'),
        '--size': Case('--size 48'),
        '--questions': Case('--questions 1'),
        '--format': Case('--format bag'),
        '--noisy': Case('--noisy'),
        '--json': Case('--json'),
    },
    'train': {
        '--what': Case('--what depth-metric'),
        '--out': Case('--out {tmp}/other'),
        '--data': Case('--data {tmp}/data'),
        '--steps': Case('--steps 7'),
        '--minutes': Case('--minutes 7'),
        '--scenes': Case('--scenes 7'),
        '--batch': Case('--batch 7'),
        '--device': Case('--device cuda:99'),
        '--threads': Case('--threads 1'),
        '--no-compile': Case('--no-compile'),
        '--resume': Case('--resume'),
        '--fresh': Case('--fresh'),
        '--export': Case('--export {tmp}/exported'),
        '--evaluate': Case('--evaluate val'),
        '--views': Case('--views 7'),
    },
    'merge': {'--json': Case('--json')},
    'camera': {
        '--world': Case('--world val:1'),
        '--still': Case('--still'),
        '--frames': Case('--frames 2'),
        '--size': Case('--size 48'),
        '--depth-scale': Case('--depth-scale 500'),
        '--layout': Case('--layout scans'),
        '--rotate': Case('--rotate 90'),
        '--rate': Case('--rate 3'),
        '--once': Case('--once'),
        '--compressed': Case('--compressed'),
        '--namespace': Case('--namespace robot'),
        '--image-topic': Case('--image-topic /a'),
        '--depth-topic': Case('--depth-topic /b'),
        '--camera-info-topic': Case('--camera-info-topic /c'),
    },
    'say': {
        '--timeout': Case('--timeout 5'),
        '--namespace': Case('--namespace robot'),
        '--json': Case('--json'),
    },
    'up': METHOD_SETTINGS
    | {row.option: of_setting(row) for row in (*STREAMS, MAP_FRAME) if row != EXTRINSIC}
    | MODEL
    | {
        '--image-topic': Case('--image-topic /a'),
        '--depth-topic': Case('--depth-topic /b'),
        '--camera-info-topic': Case('--camera-info-topic /c'),
        '--depth-camera-info-topic': Case('--depth-camera-info-topic /d'),
        '--camera': Case('--camera zed'),
        '--extrinsic': Case('--extrinsic 0,0,0,0,0,0,1'),
        '--depth-source': Case('--depth-source none'),
        '--params-file': Case('--params-file {questions}/q.json'),
        '--namespace': Case('--namespace robot'),
        '--use-sim-time': Case('--use-sim-time'),
        '--log-level': Case('--log-level debug'),
        '--single-process': Case('--single-process'),
    },
}
BASES = {
    'ask': '{rgbd} --question What? --model {model} -v',
    'view': '{rgbd} --model {model} -v',
    'export': '{model} --format torch --out {tmp}/t.pt2',
    'compare': '{run}',
    'merge': '{shards}',
    'replay': f'{{bag}} --questions {{questions}}/q.json {OFFLINE}',
    'bag from-episode': '{rgbd} --out {tmp}/made',
    'bag to-episode': '{bag} --out {tmp}/made',
    'bag info': '{bag}',
    'world': '--out {tmp}/made --episodes 1 --frames 2 --size 32',
    'train': '--out {tmp}/state --data {tmp}/shards',
    'camera': '--frames 3 --size 32',
    'say': 'What?',
}

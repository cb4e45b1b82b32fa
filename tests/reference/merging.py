"""The merging methods once more, slow and obvious: loops over lists of Python floats.

A token is a dict: its vector, key, size, the patches it stands for, and where it is. The
package is tested against this; it shares no code with it.
"""

from __future__ import annotations

import math


def dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def norm(a):
    return math.sqrt(dot(a, a))


def cosine(a, b):
    return dot(a, b) / (max(norm(a), 1e-12) * max(norm(b), 1e-12))


def start(vectors, places=None):
    """Tokens before any merge; places: a code or point per patch, None where unknown."""
    tokens = []
    for patch, vector in enumerate(vectors):
        place = None if places is None else places[patch]
        tokens.append(
            {
                'x': list(vector),
                'size': 1.0,
                'patches': [patch],
                'place': place,
                'place_size': 0.0 if place is None else 1.0,
            }
        )
    return tokens


def weighted(vectors, weights):
    total = sum(weights)
    return [
        sum(w * v[i] for v, w in zip(vectors, weights, strict=True)) / total
        for i in range(len(vectors[0]))
    ]


def spatial_similarity(kind, a, b, length_scale_m=0.15):
    """Of features: codes, or (x, y, z, normal) of surfaces."""
    if kind != 'metric':
        return cosine(a, b)
    between = [q - p for p, q in zip(a[:3], b[:3], strict=True)]
    off = 0.0
    for normal in (a[3:], b[3:]):
        length = math.sqrt(sum(n * n for n in normal)) or 1.0
        step = sum(n * d for n, d in zip(normal, between, strict=True)) / length
        off = max(off, step * step)
    along = sum(d * d for d in between) * 0.05**2
    return 1 / (1 + (off + along) / length_scale_m**2)


def bipartite_pairs(tokens, score, r):
    """[(removed, target)]: even tokens pick the best odd one; the r strongest pairs."""
    edges = []
    for a in range(0, len(tokens), 2):
        best = None
        for b in range(1, len(tokens), 2):
            s = score(tokens[a], tokens[b])
            if best is None or s > best[0]:
                best = (s, b)
        edges.append((best[0], a, best[1]))
    edges.sort(key=lambda edge: (-edge[0], edge[1]))
    return [(a, b) for _, a, b in edges[:r]]


def energy_pairs(tokens, r, margin):
    def elu(v):
        return v if v > 0 else math.exp(v) - 1

    energies = [
        sum(elu(cosine(t['key'], u['key']) - margin) for u in tokens) / len(tokens) for t in tokens
    ]
    order = sorted(range(len(tokens)), key=lambda i: (-energies[i], i))[: 2 * r]
    pairs = []
    for a in order[::2]:
        best = None
        for b in order[1::2]:
            s = cosine(tokens[a]['key'], tokens[b]['key'])
            if best is None or s > best[0]:
                best = (s, b)
        pairs.append((a, best[1]))
    return pairs


def fuse(group, how):
    vectors, sizes = [t['x'] for t in group], [t['size'] for t in group]
    mean = weighted(vectors, sizes)
    if how == 'mlerp':
        longest = max(norm(v) for v in vectors)
        mean = [m * longest / norm(mean) for m in mean]
    known = [t for t in group if t['place'] is not None]
    return {
        'x': mean,
        'key': weighted([t['key'] for t in group], sizes),
        'size': sum(sizes),
        'patches': sorted(p for t in group for p in t['patches']),
        'place': weighted([t['place'] for t in known], [t['place_size'] for t in known])
        if known
        else None,
        'place_size': sum(t['place_size'] for t in group),
    }


def apply(tokens, pairs, how):
    """Tokens after the merge, in order; how: 'average', 'mlerp' or 'prune'."""
    removed = {a for a, _ in pairs}
    merged = []
    for i, token in enumerate(tokens):
        if i in removed:
            continue
        group = [token] + [tokens[a] for a, b in pairs if b == i]
        merged.append(token if how == 'prune' or len(group) == 1 else fuse(group, how))
    return merged


def layer(tokens, keys, method, remove, index, layers, kind=None):
    """One layer's merge of `remove` tokens; keys: a vector a token."""
    for token, key in zip(tokens, keys, strict=True):
        token['key'] = list(key)
    while remove > 0:
        r = min(remove, len(tokens) // 2)
        name = type(method).__name__
        how = 'average'
        if name == 'PiToMe':
            pairs = energy_pairs(tokens, r, method.margin * (1 - index / layers))
        else:
            alpha = 1.0
            if name == 'ToSA' and kind is not None:
                depth = index / max(layers - 1, 1)
                named = {'increase': depth, 'uniform': 0.5, 'decrease': 1 - depth, 'spatial': 0.0}
                alpha = (
                    named[method.alpha] if isinstance(method.alpha, str) else method.alpha[index]
                )

            def score(a, b, alpha=alpha):
                s = cosine(a['key'], b['key'])
                if alpha == 1.0 or a['place'] is None or b['place'] is None:
                    return s
                near = round(spatial_similarity(kind, a['place'], b['place']), 4)
                alpha = max(alpha, 1e-5)
                return alpha * s + (1 - alpha) * near

            pairs = bipartite_pairs(tokens, score, r)
            if name == 'ToFu':
                prune = layers // 2 if method.prune_layers is None else method.prune_layers
                how = 'prune' if index < prune else 'mlerp'
        tokens = apply(tokens, pairs, how)
        remove -= r
    return tokens


def raster(tokens):
    return sorted(tokens, key=lambda t: t['patches'][0])

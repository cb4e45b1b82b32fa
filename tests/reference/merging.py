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
    """Tokens before any merge; places: a code or surface per patch, None where unknown."""
    tokens = []
    for patch, vector in enumerate(vectors):
        place = None if places is None else places[patch]
        tokens.append(
            {
                'x': list(vector),
                'size': 1.0,
                'patches': [patch],
                'places': [] if place is None else [place],
            }
        )
    return tokens


def weighted(vectors, weights):
    total = sum(weights)
    return [
        sum(w * v[i] for v, w in zip(vectors, weights, strict=True)) / total
        for i in range(len(vectors[0]))
    ]


def spatial_similarity(kind, these, those, length_scale_m=0.15):
    """Of two tokens' places: codes, or surfaces (x, y, z, normal)."""
    if kind != 'metric':
        a, b = (weighted(places, [1.0] * len(places)) for places in (these, those))
        return round(cosine(a, b), 4)
    total = 0.0
    for a in these:
        for b in those:
            between = [q - p for p, q in zip(a[:3], b[:3], strict=True)]
            total += dot(a[3:], between) ** 2 + dot(b[3:], between) ** 2
            total += 0.05**2 * dot(between, between)
    mean = total / (len(these) * len(those))
    return 1 - math.log(1 + mean / length_scale_m**2)


def sides(tokens, r, protected=0, alternate=False):
    """Positions that may go, and targets: every second one, or so few that they are half of the
    tokens that stay. Class tokens, at the front, count in the alternation."""
    step = min(max(2, math.floor(2 * tokens / (tokens - r))), tokens)
    if alternate and r <= tokens / 2:
        step = 2
    targets = [i for i in range(tokens) if (i + protected + 1) % step == 0]
    return [i for i in range(tokens) if i not in targets], targets


def mean_cosine(a, b, heads):
    """Of two tokens' keys, one vector a head: by head, or of the heads' mean."""
    if heads == 'mean':
        a, b = ([weighted(key, [1.0] * len(key))] for key in (a, b))
    return sum(cosine(x, y) for x, y in zip(a, b, strict=True)) / len(a)


def bipartite_pairs(tokens, score, r, protected=0, alternate=False):
    """[(removed, target)]: those that may go pick the best target; the r strongest pairs."""
    edges = []
    goers, targets = sides(len(tokens), r, protected, alternate)
    for a in goers:
        best = None
        for b in targets:
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
        sum(elu(mean_cosine(t['key'], u['key'], 'mean') - margin) for u in tokens) / len(tokens)
        for t in tokens
    ]
    order = sorted(range(len(tokens)), key=lambda i: (-energies[i], i))
    goers, targets = order[: 2 * r : 2], order[1 : 2 * r : 2]
    if 2 * r > len(tokens):
        goers, targets = ([order[i] for i in side] for side in sides(len(tokens), r))
    pairs = []
    for a in goers[:r]:
        best = None
        for b in targets:
            s = mean_cosine(tokens[a]['key'], tokens[b]['key'], 'mean')
            if best is None or s > best[0]:
                best = (s, b)
        pairs.append((a, best[1]))
    return pairs


def alpha_at(alpha, named, index):
    if isinstance(alpha, str):
        return named[alpha]
    return alpha[index] if isinstance(alpha, list | tuple) else alpha


def fuse(group, how):
    vectors, sizes = [t['x'] for t in group], [t['size'] for t in group]
    mean = weighted(vectors, sizes)
    if how == 'mlerp':
        longest = max(norm(v) for v in vectors)
        mean = [m * longest / norm(mean) for m in mean]
    return {
        'x': mean,
        'size': sum(sizes),
        'patches': sorted(p for t in group for p in t['patches']),
        'places': [place for t in group for place in t['places']],
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


def layer(tokens, keys, method, remove, index, layers, kind=None, protected=0):
    """One layer's merge of `remove` tokens; keys: a list of vectors a token, one a head."""
    for token, key in zip(tokens, keys, strict=True):
        token['key'] = list(key)
    if not remove:
        return tokens
    name = type(method).__name__
    how = 'average'
    if name == 'PiToMe':
        pairs = energy_pairs(tokens, remove, method.margin * (1 - index / layers))
    else:
        alpha = 1.0
        if name == 'ToSA' and kind is not None:
            depth = index / max(layers - 1, 1)
            named = {'increase': depth, 'uniform': 0.5, 'decrease': 1 - depth, 'spatial': 0.0}
            alpha = alpha_at(method.alpha, named, index)

        def score(a, b):
            s = mean_cosine(a['key'], b['key'], method.heads if name == 'ToSA' else 'mean')
            if alpha != 1.0 and a['places'] and b['places']:
                near = spatial_similarity(kind, a['places'], b['places'])
                weight = max(alpha, 1e-5)
                s = weight * s + (1 - weight) * near
            if name == 'ToSA' and method.ward:
                size = 2 * a['size'] * b['size'] / (a['size'] + b['size'])
                s = 1 - (1 - s) * size**method.ward
            return s

        alternate = method.targets_at == 'alternate'
        pairs = bipartite_pairs(tokens, score, remove, protected, alternate)
        if name == 'ToFu':
            prune = layers // 2 if method.prune_layers is None else method.prune_layers
            how = 'prune' if index < prune else 'mlerp'
    return apply(tokens, pairs, how)


def raster(tokens):
    return sorted(tokens, key=lambda t: t['patches'][0])

"""How right a reader is on rows whose truth is known: a module for each kind of rows.

Each judges what users get: the same windows, thresholds, temperature and precision as `Reader`'s verbs. All take

    reader, data
    resamples   of the bootstrap; 0: the metrics only, without `Details`, which take a while
    fit         find first, on these rows, what calibrates the model, and note it in `reader.facts`

and return (metrics, details).
"""

from __future__ import annotations

from collections.abc import Callable

from adverb.metrics.details import Details

RESAMPLES = 1000
Judged = tuple[dict[str, float], Details | None]


def judge_of(verb: str) -> Callable[..., Judged]:
    """The function for rows of the kind that the verb of a reader answers. Imported when it is needed."""
    if verb == "classify":
        from adverb.pipelines.judging.classes import judge_classes as judge
    elif verb == "entities":
        from adverb.pipelines.judging.tags import judge_tags as judge
    elif verb == "answer":
        from adverb.pipelines.judging.answers import judge_answers as judge
    else:
        from adverb.pipelines.judging.pairs import judge_pairs as judge
    return judge

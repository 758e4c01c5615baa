"""The recipe of the tutorial, run in a separate process.

The thread settings of TensorFlow apply to a whole process. The tutorial does not change
them, whereas this library configures its own. Each side therefore runs in a process of
its own, and one process waits while the other computes.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Model:
    """Reference to a model, or a list of models, in the other process."""

    number: int


class TutorialProcess:
    """Proxy of `benchmarks._tools.tutorial_recipe` in another process.

    ``process.fit_sngp(X, y)`` returns a `Model`, and ``process.predict_sngp(model, X)``
    returns arrays. If `seed` is passed, it seeds Keras before the call.
    """

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)

        def call(*arguments, seed: int | None = None, **keywords) -> Any:
            self._connection.send((name, arguments, keywords, seed))
            succeeded, result = self._connection.recv()
            if not succeeded:
                raise RuntimeError(f"tutorial.{name} failed: {result}")
            return result

        return call


def _serve(connection):
    import tf_keras

    from benchmarks._tools import tutorial_recipe

    models: list = []
    while True:
        try:
            name, arguments, keywords, seed = connection.recv()
        except EOFError:  # the other process has ended
            return
        arguments = [models[a.number] if isinstance(a, Model) else a for a in arguments]
        try:
            if seed is not None:
                tf_keras.utils.set_random_seed(seed)
            result = getattr(tutorial_recipe, name)(*arguments, **keywords)
        except Exception as error:
            connection.send((False, repr(error)))
            continue
        if name.startswith("fit"):
            models.append(result)
            result = Model(len(models) - 1)
        connection.send((True, result))

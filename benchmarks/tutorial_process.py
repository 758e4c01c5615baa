"""The tutorial's recipe in a process of its own, called from another.

TensorFlow's threads are settings of a process. A reader of the tutorial leaves
them alone, while this library sets its own; so each side gets a process, and one
of them waits while the other computes.
"""

from __future__ import annotations

import multiprocessing
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Model:
    """What stands here for a model, or a list of them, that lives there."""

    number: int


class TutorialProcess:
    """Functions of `benchmarks.tutorial`, computed in the other process.

    ``process.fit_sngp(X, y)`` returns a `Model`, ``process.predict_sngp(model, X)``
    arrays. `seed`, where given, seeds Keras before the call.
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

    from benchmarks import tutorial

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
            result = getattr(tutorial, name)(*arguments, **keywords)
        except Exception as error:
            connection.send((False, repr(error)))
            continue
        if name.startswith("fit"):
            models.append(result)
            result = Model(len(models) - 1)
        connection.send((True, result))

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import scipy.linalg  # noqa: F401  (has a BLAS of its own)
from threadpoolctl import threadpool_info, threadpool_limits

from sksngp._runtime.blas import one_thread
from sksngp._uncertainty.posterior import factorize


def blas_threads():
    return {
        lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"
    }


@pytest.fixture(autouse=True)
def two_threads():
    with threadpool_limits(2, user_api="blas"):
        assert blas_threads() == {2}
        yield


def test_one_thread_and_then_what_was():
    with one_thread:
        assert blas_threads() == {1}
    assert blas_threads() == {2}
    with pytest.raises(KeyError), one_thread:
        raise KeyError
    assert blas_threads() == {2}


def test_as_decorator():
    assert one_thread(blas_threads)() == {1}
    assert blas_threads() == {2}


def test_threads_do_not_restore_the_limit_of_others():
    precision = 2 * np.eye(64)[None]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: factorize(precision, 1.0).whitening, range(200)))
    assert blas_threads() == {2}


def test_nested_and_overlapping_uses():
    with one_thread:
        with one_thread:
            assert blas_threads() == {1}
        assert blas_threads() == {1}
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(one_thread(blas_threads)).result() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == {2}


@pytest.mark.slow
def test_a_forked_child_is_free(run_python):
    code = """
        import os
        from threadpoolctl import threadpool_info
        import numpy
        from sksngp._runtime import blas
        with blas.one_thread, blas.one_thread._lock:  # as another thread might hold it
            if not os.fork():
                with blas.one_thread:
                    os._exit(7)
            print(os.waitstatus_to_exitcode(os.wait()[1]))
    """
    assert run_python(code).stdout.split() == ["7"]

"""Warning categories."""

import subprocess
import sys
import textwrap
import warnings

import pytest

from sksngp.exceptions import FewSamplesWarning


def test_a_user_warning():
    assert issubclass(FewSamplesWarning, UserWarning)


def printed(code):
    code = textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return done.stderr


WARN_TWENTY_TIMES = """
    import warnings
    from sksngp.exceptions import FewSamplesWarning
    {filters}
    for line in range(20):
        exec("\\n" * line + "warnings.warn('few', FewSamplesWarning)")
    """


def test_equal_warnings_are_shown_once():
    assert printed(WARN_TWENTY_TIMES.format(filters="")).count("FewSamplesWarning") == 1


@pytest.mark.slow
@pytest.mark.parametrize(("action", "times"), [("ignore", 0), ("always", 20)])
def test_filters_of_users_take_precedence(action, times):
    filters = f"warnings.simplefilter('{action}', FewSamplesWarning)"
    shown = printed(WARN_TWENTY_TIMES.format(filters=filters))
    assert shown.count("FewSamplesWarning: few") == times


def test_fits_warn_in_this_category(make_two, moons):
    X, y = moons
    with pytest.warns(FewSamplesWarning, match="predict_ood will not flag any sample"):
        make_two(cv=None, validation_fraction=0).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", FewSamplesWarning)
        make_two(cv=None, validation_fraction=0).fit(X, y)


@pytest.mark.slow
def test_what_was_ignored_is_not_counted_as_shown():
    shown = printed(
        """
        import warnings
        from sksngp.exceptions import FewSamplesWarning, warn_of_few_samples
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FewSamplesWarning)
            warn_of_few_samples("few", stacklevel=1)
        for _ in range(2):
            warn_of_few_samples("few", stacklevel=1)
        """
    )
    assert shown.count("FewSamplesWarning: few") == 1

"""The exact one-sided lower confidence bound of a binomial probability."""

from __future__ import annotations

import numpy as np

from probes.arrays import Array


def clopper_pearson_lower(count: int, trials: int, *, alpha: float) -> float:
    """The p at which `count` or more successes in `trials` have probability `alpha`.

    If the true probability is p_true, the bound exceeds it in at most `alpha` of all experiments, whatever
    p_true is (Clopper and Pearson, Biometrika 26, 1934). It is the `alpha` quantile of
    Beta(count, trials - count + 1), and 0 without a success. Rounding lowers it rather than raising it.

    Raises:
        ValueError: `count` is not in [0, trials], `trials` not positive, or `alpha` not in (0, 1).
    """
    if not (trials >= 1 and 0 <= count <= trials):
        raise ValueError(f"{count} of {trials}: give a count from 0 to the number of trials, at least one")
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha is {alpha}; give a number between 0 and 1")
    if count == 0:
        return 0.0
    successes = np.arange(count, trials + 1, dtype=np.float64)
    log_ways = _log_binomial_coefficients(successes, trials)
    low, high = 0.0, 1.0
    # Bisection down to neighbouring floats; `low` is always a bound that holds.
    while low < (middle := 0.5 * (low + high)) < high:
        log_terms = log_ways + successes * np.log(middle) + (trials - successes) * np.log1p(-middle)
        if float(np.sum(np.exp(log_terms))) <= alpha:
            low = middle
        else:
            high = middle
    return low


def _log_binomial_coefficients(successes: Array, trials: int) -> Array:
    """log(trials over k) for the ascending `successes` k, the last of which is `trials`."""
    # (n over k-1) = (n over k) k / (n-k+1): sums from k = n downwards, and NumPy has no log-gamma.
    descending = successes[:0:-1]
    sums = np.cumsum(np.log(descending / (trials - descending + 1.0)))
    return np.concatenate((sums[::-1], np.zeros(1)))

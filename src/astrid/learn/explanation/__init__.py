"""Why a model says what it says about one item: attributions by ten methods, with their cost and worth.

    explanation = explain(bundle, {"triplet": triplet})
    explanation.plot().savefig("why.png")

Which items deserve an explanation is not decided here; a full one costs a few hundred predictions.
"""

from astrid.learn.explanation.methods import METHODS, explain
from astrid.learn.explanation.result import Explanation, Response

__all__ = ["METHODS", "Explanation", "Response", "explain"]

"""The one engine: data sets, training, evaluation, calibration, explanation, bundles, prediction."""

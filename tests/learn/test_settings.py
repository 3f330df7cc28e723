"""Settings: a recipe is changed by a file and by assignments, and nothing is taken that cannot be."""

from __future__ import annotations

import pytest

from astrid.errors import UsageError
from astrid.learn.settings import Training, read_settings


def test_an_assignment_wins_over_the_file_and_the_file_over_the_task(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("epochs: 7\noptimizer: {lr: 0.01}\n")
    settings = read_settings(Training(patience=3), path, ["optimizer.lr=3e-4"])
    assert (settings.patience, settings.epochs, settings.optimizer.lr) == (3, 7, 3e-4)


def test_the_stored_recipe_gives_the_same_recipe_again(tmp_path):
    import yaml

    settings = read_settings(Training(), None, ["precision=32", "split.by=column", "split.column=ccd"])
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
    assert read_settings(Training(), path) == settings


def test_options_of_the_network_are_free_and_are_added():
    settings = read_settings(
        Training(network_options={"width": 8}), None, ["network_options.normalization=none"]
    )
    assert settings.network_options == {"width": 8, "normalization": "none"}


@pytest.mark.parametrize(
    ("assignment", "sentence"),
    [
        ("epochs", "sets nothing"),
        ("epoch=3", "there is no setting 'epoch'"),
        ("optimizer.rate=3", "there is no setting 'rate'"),
        ("epochs=0", "epochs is 0"),
        ("optimizer.lr=-1", r"optimizer.lr is -1"),
        ("precision=8", "precision is '8'"),
        ("epochs=[1", "is no value"),
    ],
)
def test_what_cannot_be_set_is_said_in_one_sentence(assignment, sentence):
    with pytest.raises(UsageError, match=sentence) as caught:
        read_settings(Training(), None, [assignment])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["- 1\n- 2\n", "a: [", "just text"])
def test_a_file_without_settings_is_named(tmp_path, content):
    path = tmp_path / "config.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=r"config\.yaml"):
        read_settings(Training(), path)


def test_an_absent_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="absent"):
        read_settings(Training(), tmp_path / "absent.yaml")

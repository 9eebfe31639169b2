"""Options mean the same in every verb."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import click
import pytest
from clwm_cli.analyse import PART_NAMES
from clwm_cli.main import VERBS, clwm
from clwm_cli.settings_options import PROTOCOL_NAMES

from clwm_data.opening import open_store
from clwm_train.analysis.results import PARTS
from clwm_train.settings import PROTOCOLS
from tests.cli.conftest import Call

#: Options that are another thing in some verb.
DIFFERENT = {
    "--task": "`preview` takes several",
    "--behaviour": "one that acts, or several that acted",
    "--checkpoint": "of a family, `preview` takes a quality",
    "--noise": "standard deviations of the actions, or of the policy",
    "--protocol": "`preview` films one",
    "--context-size": "an evaluation may have contexts of none",
    "--store": "of a sweep: some of them",
    "--episodes": "their number where they are played, which ones where they lie in a store",
    "--method": "of a sweep: some of them",
}


def options() -> dict[str, list[tuple[str, click.Option]]]:
    """Flag -> the verbs that take it, each with its option."""
    verbs: dict[str, list[tuple[str, click.Option]]] = defaultdict(list)
    for verb in VERBS:
        command = clwm.get_command(click.Context(clwm), verb)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                for flag in parameter.opts:
                    verbs[flag].append((verb, parameter))
    return verbs


def test_an_option_of_several_verbs_takes_the_same_in_all_of_them() -> None:
    for flag, verbs in options().items():
        if flag not in DIFFERENT:
            kinds = {
                (type(option.type), str(option.type.to_info_dict()), option.multiple, option.is_flag)
                for _, option in verbs
            }
            assert len(kinds) == 1, f"{flag}: {[verb for verb, _ in verbs]}: {kinds}"


def test_an_output_has_a_path_and_a_seed_fits() -> None:
    for _, option in options()["--out"]:
        with pytest.raises(click.BadParameter, match="the path is empty"):
            option.type.convert("", option, None)
    for verb, option in options()["--seed"]:
        assert option.type.convert(str(2**63 - 1), option, None) == 2**63 - 1, verb
        for text in (str(2**63), "-1", "1.5", "x"):
            with pytest.raises(click.BadParameter):
                option.type.convert(text, option, None)


def test_names_are_those_of_the_library() -> None:
    assert PROTOCOL_NAMES == PROTOCOLS
    assert PART_NAMES == PARTS


@pytest.mark.parametrize("given", [("id,train",), ("train", "id"), ("train , id", "id")])
def test_several_names_with_commas_or_by_repeating_the_option(
    call: Call, store_path: Path, given: tuple[str, ...]
) -> None:
    splits = [part for name in given for part in ("--split", name)]
    for verb, argument in (("eval", ["run"]), ("pull", ["user/repo"])):
        command = clwm.get_command(click.Context(clwm), verb)
        assert command is not None
        assert command.make_context(verb, [*argument, *splits]).params["splits"] == ("train", "id")
    code, _, err = call("select", store_path, "part.zarr", *splits)
    assert code == 0, err
    assert {task.split for task in open_store(Path("part.zarr"))} == {"train", "id"}


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ("train x --steps 0", "'--steps': 0 is too small: it must be at least 1"),
        (
            "train x --steps 2000000000",
            "'--steps': 2000000000 is too large: it must be at most 1,000,000,000",
        ),
        ("sweep x --minutes 0", "'--minutes': 0.0 is too small: it must be more than 0"),
        ("preview x --noise 10.5", "'--noise': 10.5 is too large: it must be at most 10"),
        ("analyse x --contexts 1", "'--contexts': 1 is too small: it must be at least 2"),
        ("select a b --min-return nan", "'--min-return': 'nan' is not a finite number"),
        ("behaviour trian", "no command is called 'trian': did you mean train?"),
        ("behaviour measure", "no command is called 'measure': `clwm behaviour --help` lists the commands"),
    ],
)
def test_what_is_out_of_range_is_said_in_words(call: Call, arguments: str, line: str) -> None:
    code, _, err = call(*arguments.split())
    assert code == 2
    assert err.splitlines()[-1].endswith(line)


def test_help_describes_ranges_in_words() -> None:
    for verbs in options().values():
        for verb, option in verbs:
            shown = option.get_help_record(click.Context(clwm))
            assert shown is not None
            assert "x<=" not in shown[1] and "x>" not in shown[1] and "None" not in shown[1], (verb, shown)  # noqa: PT018
            assert "RANGE" not in shown[0], (verb, shown)

"""What an analysis finds out about an agent."""

from __future__ import annotations

from clwm_data.strict import Finite, StrictModel, Text


class DisentanglementScores(StrictModel):
    """DCI and InfoMEC, fitted to the train tasks; see :mod:`clwm_train.metrics.disentanglement`.

    Attributes:
        disentanglement: disentanglement (DCI).
        completeness: completeness (DCI).
        informativeness: R^2 on the id tasks (DCI).
        modularity: modularity (InfoMEC).
        explicitness: explicitness on the id tasks (InfoMEC).
        compactness: compactness (InfoMEC); absent with one active entry.
    """

    disentanglement: Finite
    completeness: Finite
    informativeness: Finite
    modularity: Finite
    explicitness: Finite
    compactness: Finite | None = None


class Disentanglement(DisentanglementScores):
    """Scores of z, and of constructed codes for comparison.

    Attributes:
        factors: names of the task parameters.
        importance: [z][factors].
        information: [factors][z].
        noise: scores of codes without information about the task.
        entangled: scores of codes that mix all factors in every entry.
    """

    factors: list[Text]
    importance: list[list[Finite]]
    information: list[list[Finite]]
    noise: DisentanglementScores | None = None
    entangled: DisentanglementScores | None = None


class OpenLoop(StrictModel):
    """Relative squared errors after 1, 2, ... steps, see :mod:`clwm_train.analysis.open_loop`."""

    code: list[Finite]
    reward: list[Finite]


class OffPolicy(StrictModel):
    """Values and likelihoods of stored transitions, see :mod:`clwm_train.analysis.off_policy`."""

    value: Finite | None = None
    policy_value: Finite | None = None
    data_return: Finite | None = None
    log_likelihood: Finite | None = None
    action_error: Finite


class SeedAnalysis(StrictModel):
    """The analysis of one seed; parts that were not requested or do not apply are absent.

    Attributes:
        probe: split (id, ood) -> task parameter -> R^2 of the linear probe from z, fitted to the train tasks.
        disentanglement: scores, for families with factors that the id tasks combine in new ways.
        open_loop: split -> errors, for methods with a world model.
        off_policy: split -> values and likelihoods of stored transitions.
    """

    probe: dict[Text, dict[Text, Finite]] | None = None
    disentanglement: Disentanglement | None = None
    open_loop: dict[Text, OpenLoop] | None = None
    off_policy: dict[Text, OffPolicy] | None = None

"""Sources of the constants of families beyond the paper's, and which of them are clwm's own."""

from __future__ import annotations

NOTES = {
    "ant-dir": """\
40 directions at equal distances; [CSRO](https://github.com/MoreanP/CSRO)'s code has them so, too.
[PEARL](https://github.com/katerakelly/oyster)'s draws them uniformly from the whole circle, with the same
reward: other points of the same circle, so there is no family of its own for them.""",
    "cheetah-dir": """\
Reward: direction x velocity - 0.05 sum a^2, as in PEARL's code
([oyster](https://github.com/katerakelly/oyster/blob/HEAD/rlkit/envs/half_cheetah_dir.py)), which has
the same two tasks to train and to test on; so have [Meta-DT](https://github.com/NJU-RL/Meta-DT)'s, which
lists each direction twice. Few-shot adaptation is thus tested on the tasks that were trained on.""",
    "cheetah-vel-sparse": """\
Tasks, split and dense reward (`dense_reward` in stores) are cheetah-vel's. The reward is 1 - abs(v - v*)
within 0.5 m/s of the target, else 0, - 0.05 sum a^2: the form of PEARL's sparse point robot. We found no
published tolerance: 0.5 m/s is clwm's own. Steps within it are successes. The trained policies are
cheetah-vel's.""",
    "cheetah-wind": """\
A constant force along the root's slide, after the wind of LILAC's HalfCheetah ([Xie et al.
2020](https://arxiv.org/abs/2006.10701)), with cheetah-vel's reward -abs(v - v*) - 0.05 sum a^2. There wind
and target change between episodes; in public reimplementations that name LILAC the target lies between 0
and 3 m/s, the force between 0 and 20 N. Here the target stays in the middle, at 1.5 m/s, and the force is up
to 10 N either way: a range of the same length. Number and split of the tasks are clwm's own, too.""",
    "hopper-param": """\
Each body's mass, its inertia about each axis and each friction coefficient of each geom are multiplied
by 1.5^u, the damping of each degree of freedom by 1.3^u, u uniform in [-3, 3]: the recipe of
[rand_param_envs](https://github.com/dennisl88/rand_param_envs/blob/HEAD/rand_param_envs/base.py), which
[PEARL](https://github.com/katerakelly/oyster), [FOCAL](https://github.com/LanqingLi1993/FOCAL-ICLR),
[CSRO](https://github.com/MoreanP/CSRO), [UNICORN](https://github.com/betray12138/UNICORN) and
[Meta-DT](https://github.com/NJU-RL/Meta-DT) use, with the reward of its hopper. 40 tasks to train on and 10
held out, as PEARL's and FOCAL's configurations have (CSRO: 30 and 10); the draws are clwm's own. The base
is Gymnasium's Hopper-v5, there an older model of it. With so many numbers hardly any task lies inside the
range of all of them. `clwm families hopper-param` lists all factors.""",
    "walker-param": """\
As hopper-param, on Walker2d-v5.""",
    "point-robot-sparse": """\
No hallway: an episode begins at the origin and has 20 steps of up to 0.1 per axis. The reward is 1 -
distance within 0.2 of the goal, else 0; the dense one (`dense_reward` in stores) is -distance. Numbers of
PEARL's sparse point robot
([oyster](https://github.com/katerakelly/oyster/blob/HEAD/rlkit/envs/point_robot.py), which has 80 goals
to train on and 20 to test on); 40 goals and their split are clwm's. FOCAL's code divides the
distance in the reward by the radius.""",
    "point-robot-wind": """\
From the origin to (0, 1) in 75 steps; a wind adds the same displacement to every step, drawn uniformly
from [-0.08, 0.08]^2. The reward is 1 within 0.03 of the goal, else 0; the dense one is -distance.
Numbers of the wind task of
[pomdp-baselines](https://github.com/twni2016/pomdp-baselines/blob/HEAD/envs/meta/toy_navigation/wind.py),
after BOReL ([Dorfman et al. 2021](https://arxiv.org/abs/2008.02598)); the draws are clwm's own. The
point-robot-wind of FOCAL's and CSRO's code has winds from [-0.05, 0.05]^2, the goal (1, 0) and a radius of
0.2. 40 tasks to train on and 10 held out, as in FOCAL's configuration.""",
    "ml10": """\
Task 50 b + g is task g of `mw-<name>` of the b-th benchmark, so `mw-reach` and `ml10` share goals, scripts
and reference returns. To train on: {ml10_train}. To test on: {ml10_test}. Of the former, the first 40 of 50
goals are *train*, the others *id*; all goals of the latter are *ood*: the manipulation itself is new, not
just its numbers. The lists are those of [Meta-World](https://github.com/Farama-Foundation/Metaworld) 3.0;
it draws other goals for ML10 than for ML1. `clwm eval` and `clwm report` show success rates by benchmark.
The parameter `benchmark` is a number here, and one-hot for policies that are given the task.""",
    "ml45": """\
As ml10: all benchmarks but {ml45_test} to train on, and these to test on.""",
}

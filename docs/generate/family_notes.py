"""Sources of the constants of families beyond the paper's, and which of them are clwm's own."""

from __future__ import annotations

NOTES = {
    "cheetah-dir": """\
Reward: direction x velocity - 0.05 sum a^2, as in the code of PEARL
([oyster](https://github.com/katerakelly/oyster)) and [Meta-DT](https://github.com/NJU-RL/Meta-DT). Both
tasks are train tasks, as there: few-shot adaptation is tested on the tasks that were trained on. No
policies ship: `clwm behaviour train cheetah-dir --steps 60000` took 23 minutes of a shared core to a
mean return of 1,012 (random actions: -30).""",
    "cheetah-vel-sparse": """\
Tasks, split and dense reward (`dense_reward` in stores) are cheetah-vel's. The reward is 1 - abs(v - v*)
within 0.5 m/s of the target, else 0, - 0.05 sum a^2: the form of PEARL's sparse point robot. We found no
published tolerance: 0.5 m/s is clwm's own. Steps within it are successes. The trained policies are
cheetah-vel's.""",
    "cheetah-wind": """\
A constant force along the root's slide, as the wind of LILAC's HalfCheetah ([Xie et al.
2020](https://arxiv.org/abs/2006.10701)): up to 10 N either way, reward -abs(v - v*) - 0.05 sum a^2.
There wind and target change between episodes; here the target stays at 1.5 m/s, the middle of its range
there. Number and split of the tasks are clwm's own.""",
    "hopper-param": """\
Each body's mass, its inertia about each axis and each friction coefficient of each geom are multiplied
by 1.5^u, the damping of each degree of freedom by 1.3^u, u uniform in [-3, 3]: the recipe of
[rand_param_envs](https://github.com/dennisl88/rand_param_envs), which PEARL, FOCAL and Meta-DT use. 40
tasks to train on and 10 held out, as in PEARL's walker. The base is Gymnasium's Hopper-v5, there an
older model of it. With so many numbers hardly any task lies inside the range of all of them. `clwm
families hopper-param` lists all factors.""",
    "walker-param": """\
As hopper-param, on Walker2d-v5.""",
    "point-robot-sparse": """\
No hallway: an episode begins at the origin and has 20 steps of up to 0.1 per axis. The reward is 1 -
distance within 0.2 of the goal, else 0; the dense one (`dense_reward` in stores) is -distance. Numbers
of the sparse point robot of PEARL as [FOCAL's code](https://github.com/LanqingLi1993/FOCAL-ICLR) has it;
the split is clwm's.""",
    "point-robot-wind": """\
From the origin to (0, 1) in 75 steps; a wind adds the same displacement to every step, drawn uniformly
from [-0.08, 0.08]^2. The reward is 1 within 0.03 of the goal, else 0; the dense one is -distance.
Numbers of the wind task of BOReL ([Dorfman et al. 2021](https://arxiv.org/abs/2008.02598)) as
[pomdp-baselines](https://github.com/twni2016/pomdp-baselines) has it.""",
}

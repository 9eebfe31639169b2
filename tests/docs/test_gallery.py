"""The gallery shows every task family, in small files."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from PIL import Image

from clwm_data.families.builtin import BUILTIN
from clwm_data.families.registry import get_family
from clwm_data.preview import Clip
from docs.generate.gallery import COLOURS, FILMS, MOMENTS, WIDTH, document, film, filmed, filmed_task
from tests.conftest import ROOT


def test_every_family_is_filmed_and_the_page_shows_all_films() -> None:
    missing = [name for name in BUILTIN if not filmed(get_family(name))]
    assert missing == [], f"run: python -m docs.generate.gallery {' '.join(missing)}"
    assert {path.stem for path in FILMS.glob("*.gif")} == set(BUILTIN)
    page = (ROOT / "docs/gallery.md").read_text(encoding="utf-8")
    assert page == document(), "run: python -m docs.generate.gallery"
    assert all(f"images/gallery/{name}.gif" in page for name in BUILTIN)


def test_the_gallery_stays_small() -> None:
    assert sum(path.stat().st_size for path in FILMS.glob("*.gif")) < 6e6


def test_a_film_has_few_moments_and_colours_and_ends_as_the_episode_does() -> None:
    family = get_family("point-robot")
    pictures = [np.full((60, 80, 3), shade, np.uint8) for shade in range(0, 250, 5)]
    clip = Clip(family.task(filmed_task(family)), "scripted", pictures, 40, -10.0, None)
    with Image.open(BytesIO(film(clip))) as made:
        assert made.size == (WIDTH, WIDTH * 60 // 80)
        assert getattr(made, "n_frames", 1) == MOMENTS
        assert len(made.convert("RGB").getcolors() or []) <= COLOURS
        made.seek(MOMENTS - 1)
        assert abs(made.convert("RGB").getpixel((5, 5))[0] - 245) <= 6  # type: ignore[index]

"""`ContactSheet`: images beside their maps with text, as one image or as HTML."""

from __future__ import annotations

import base64
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from lightning_cam.render.encode import jpeg
from lightning_cam.render.grid import grid, tiles

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

MAX_SHOWN = 16  # images in a contact sheet: some hundred KB in a notebook
_MAX_WIDTH = 1400  # of the images side by side, in pixels
_GAP, _EDGE = 4, 12  # beside an image, and beside its map
_WHITE = 255

# Colours are those of the page around it, which may be light or dark.
_HTML = """\
<div>
{%- if heading %}<div style="font-weight:600;margin:4px 0">{{ heading }}</div>{% endif %}
{%- if facts %}<div style="display:flex;flex-wrap:wrap;gap:2px 16px;margin:4px 0">
{%- for name, value in facts %}<span>{{ name }} <b>{{ value }}</b></span>{% endfor %}
</div>{% endif %}
{%- for line in notes %}<div style="margin:4px 0">{{ line }}</div>{% endfor %}
<div style="display:flex;flex-wrap:wrap;gap:12px">
{%- for figure in figures %}
<figure style="margin:0">
<div style="display:flex;flex-wrap:wrap;gap:4px">
{%- for title, data in figure.tiles %}
<div><img src="data:image/jpeg;base64,{{ data }}" alt="{{ title }}" style="display:block;\
max-width:100%">{% if titled %}<div style="font-size:smaller;opacity:.75">{{ title }}</div>\
{% endif %}</div>
{%- endfor %}
</div>
<figcaption style="text-align:left;padding:2px 0 6px">
{%- for line in figure.lines %}{{ line }}{% if not loop.last %}<br>{% endif %}{% endfor -%}
</figcaption>
</figure>
{%- endfor %}
</div>
{%- if note %}<div style="opacity:.75">{{ note }}</div>{% endif %}
</div>
"""


@dataclass(frozen=True)
class ContactSheet:
    """Images beside their maps.

    Attributes:
        images: (N, h, w, 3) uint8 RGB.
        maps: the same images under their maps, (N, h, w, 3) uint8 RGB, by title.
        texts: the lines of text of each.
        heading: text above all, empty for none.
        left_off: how many more there are, which are not shown.
        facts: names and values, in HTML only.
        notes: lines of text below these.
    """

    images: Pixels
    maps: Mapping[str, Pixels]
    texts: Sequence[Sequence[str]]
    heading: str = ""
    left_off: int = 0
    facts: Sequence[tuple[str, str]] = ()
    notes: Sequence[str] = ()

    @property
    def note(self) -> str:
        """What is left off, in words; empty where nothing is."""
        return f"and {self.left_off} more" if self.left_off else ""

    @property
    def alt(self) -> str:
        """What is shown, in a sentence."""
        shown = "; ".join(", ".join(lines) for lines in self.texts)
        return f"{' · '.join(self.maps)} of {shown}"

    def picture(self) -> Pixels:
        """Return one image (H, W, 3) uint8 RGB: pairs side by side, or a column for each map."""
        heading = " · ".join(filter(None, (self.heading, self.note)))
        if len(self.maps) > 1:
            columns = [self.images, *self.maps.values()]
            return grid(columns, ["image", *self.maps], self.texts, heading)
        heading = " · ".join(filter(None, (*self.maps, heading)))
        parts = [
            np.pad(each, ((0, 0), (0, 0), (0, gap), (0, 0)), constant_values=_WHITE)
            for each, gap in ((self.images, _GAP), *((maps, _EDGE) for maps in self.maps.values()))
        ]
        strips = np.concatenate(parts, axis=2)
        rows = -(-len(strips) // max(1, _MAX_WIDTH // strips.shape[2]))
        return tiles(strips, self.texts, heading, across=-(-len(strips) // rows))

    def html(self) -> str:
        """Return HTML that needs nothing else, with images inside it and all text escaped."""
        titles = ["image", *self.maps]
        columns = [self.images, *self.maps.values()]
        figures = [
            {
                "tiles": [
                    (title, base64.b64encode(jpeg(column[n])).decode())
                    for title, column in zip(titles, columns, strict=True)
                ],
                "lines": lines,
            }
            for n, lines in enumerate(self.texts)
        ]
        titled = len(self.maps) > 1
        heading = self.heading if titled else " · ".join(filter(None, (*self.maps, self.heading)))
        html: str = _template().render(
            figures=figures,
            heading=heading,
            titled=titled,
            facts=self.facts,
            notes=self.notes,
            note=self.note,
        )
        return html


@functools.cache
def _template() -> Any:
    from jinja2 import Environment

    return Environment(autoescape=True).from_string(_HTML)


def thumbnail_size(height: int, width: int, longest: int) -> tuple[int, int]:
    """Return the size of an image of (height, width) with its longer side at most `longest`."""
    scale = min(1.0, longest / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))

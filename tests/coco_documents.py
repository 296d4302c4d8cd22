"""Sound COCO documents of any kind, drawn by Hypothesis."""

from __future__ import annotations

from typing import Any

from factories import coco_dict, label_space
from hypothesis import strategies as st

from lat.core.label_space import LabelSpace

FEW = label_space("city", ["car", "truck", "größe"], ids=[9, 4, 6])
MANY = label_space("lvis", [f"class {i}" for i in range(80)], ids=[3 * i + 2 for i in range(80)])
SCORES = st.one_of(st.floats(0, 1), st.sampled_from([0, 1, 1e-7, 0.1234567]))


@st.composite
def annotations(draw: st.DrawFn, space: LabelSpace, kind: str, has_provenance: bool) -> dict[str, Any]:
    """A sound annotation without id and image."""
    x, y = draw(st.floats(-3, 40)), draw(st.integers(0, 25))
    value: dict[str, Any] = {
        "category_id": draw(st.sampled_from(space.category_ids)),
        "bbox": [x, y, draw(st.floats(4, 60)), draw(st.integers(2, 9))],
    }
    value |= draw(st.fixed_dictionaries({}, optional={"score": SCORES, "area": st.sampled_from([None, 3, 2.5])}))
    value |= draw(st.fixed_dictionaries({}, optional={"iscrowd": st.sampled_from([None, 0, 1, 0.0])}))
    if kind == "vectors":
        value["class_scores"] = draw(st.lists(SCORES, min_size=len(space), max_size=len(space)))
    elif kind == "pairs":
        ids = draw(st.lists(st.sampled_from(space.category_ids), min_size=1, max_size=30, unique=True))
        value["class_scores"] = [[category_id, draw(SCORES)] for category_id in ids]
        value |= draw(st.fixed_dictionaries({}, optional={"class_scores_rest": st.sampled_from([None, 0, 0.5, 3])}))
    if has_provenance:
        value["provenance"] = draw(
            st.fixed_dictionaries(
                {
                    "origin": st.sampled_from(["ground_truth", "pseudo_label", "person"]),
                    "space": st.sampled_from(["nu", "a", 'ü"},{']),
                    "annotation_id": st.sampled_from([None, 1, 2**62]),
                },
                optional={
                    "prior": st.fixed_dictionaries(
                        {"source_class": st.sampled_from("zab"), "factor": st.sampled_from([0, 2, 0.5]), "kept": st.booleans()}
                    )
                },
            )
        )
    value |= draw(
        st.fixed_dictionaries({}, optional={"note": st.sampled_from(["}, {", '\\"', "é", [{"a": 1}, {"b": [{}, {}]}]])})
    )
    return value


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """A sound COCO document."""
    space = draw(st.sampled_from([FEW, MANY]))
    kind, has_provenance = draw(st.sampled_from(["none", "vectors", "pairs"])), draw(st.booleans())
    document = coco_dict([[]] * draw(st.integers(1, 4)), space=space)
    rows = draw(st.lists(annotations(space, kind, has_provenance), max_size=5))
    ids = draw(st.permutations(range(1, len(rows) + 1)))
    image_ids = [image["id"] for image in document["images"]]
    document["annotations"] = [
        {"id": number, "image_id": draw(st.sampled_from(image_ids)), **row} for number, row in zip(ids, rows, strict=True)
    ]
    if draw(st.booleans()):
        document = dict(reversed(document.items()))
    return document

"""The root that some tools put above the classes of a COCO file, Roboflow's exports above all: a category that is no class."""

from __future__ import annotations

from typing import Any

ROOT_ID = 0
NO_CLASS = "is no class"


def find_root(categories: Any) -> dict[str, Any] | None:
    """The category of id 0 and supercategory "none" that all other categories name as theirs, if there is one.

    It is a root only if no annotation is of it, which the caller has to look up.

    Args:
        categories: what a COCO file has under that key.
    """
    if not isinstance(categories, list) or not all(isinstance(one, dict) for one in categories):
        return None
    roots = [one for one in categories if type(one.get("id")) is int and one["id"] == ROOT_ID]
    others = [one for one in categories if one not in roots]
    if len(roots) != 1 or not others or roots[0].get("supercategory") != "none":
        return None
    name = roots[0].get("name")
    return roots[0] if isinstance(name, str) and all(one.get("supercategory") == name for one in others) else None


def describe_root(root: dict[str, Any]) -> str:
    """What is said of a root that is left out."""
    return f"category {ROOT_ID} '{root['name']}', the root of all others and without boxes, {NO_CLASS}"


def without_root(document: dict[str, Any]) -> tuple[dict[str, Any], dict[str, int]]:
    """A COCO document without the root of its categories, and what was repaired by that; itself and nothing if it has none."""
    root = find_root(document.get("categories"))
    annotations = document.get("annotations", [])
    if root is None or not isinstance(annotations, list):
        return document, {}
    if any(isinstance(one, dict) and one.get("category_id") == ROOT_ID for one in annotations):
        return document, {}
    categories = [one for one in document["categories"] if one is not root]
    return {**document, "categories": categories}, {describe_root(root): 1}

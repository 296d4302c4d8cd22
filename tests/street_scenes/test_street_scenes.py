"""Street scenes: exact extents, the four protocols, and files that depend on nothing but the arguments."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lat.core.errors import InputError
from lat.street_scenes import DEFAULT_DATASETS, DIFFICULTIES, SPACES, SceneSettings, draw_street_scenes, paint_image
from lat.street_scenes.backdrop import LOOKS
from lat.street_scenes.canvas import Canvas, Patch
from lat.street_scenes.painting import paint_scene
from lat.street_scenes.protocols import PaintedUser, annotate
from lat.street_scenes.scene import IMAGE_SIZE_HW, Kind, Placement, arrange_scene
from lat.street_scenes.shapes import body_patches

TINY = {"city": 3, "nu": 3, "way": 3}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("street_scenes") / "drawn"
    draw_street_scenes(out, SceneSettings(train_images=TINY, val_images=2, annotators="exact"))
    return out


@pytest.fixture(scope="module")
def painted() -> list[PaintedUser]:
    users = []
    for seed in range(30):
        users += paint_scene(np.random.default_rng(seed), DIFFICULTIES["hard"], LOOKS["nu"])[1]
    return users


def bytes_of(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


class Rectangles:
    """A canvas for scenes by hand: rectangles given by their first and last pixel column and row, both painted."""

    def __init__(self, size_hw: tuple[int, int]) -> None:
        self.canvas = Canvas(np.zeros((*size_hw, 3), dtype=np.uint8))
        self.height = size_hw[0]

    def patch(self, columns: tuple[int, int], rows: tuple[int, int]) -> tuple[list[Patch], Placement]:
        (x1, x2), (y1, y2) = columns, (self.height - rows[0], self.height - rows[1])
        corners = [(x1 + 0.5, y1 - 0.5), (x2 + 0.5, y1 - 0.5), (x2 + 0.5, y2 - 0.5), (x1 + 0.5, y2 - 0.5)]
        return [Patch((np.array(corners),), (200, 0, 0))], Placement(0.0, float(self.height), 1.0, faces_left=False)

    def paint(self, columns: tuple[int, int], rows: tuple[int, int]) -> int:
        return self.canvas.paint(*self.patch(columns, rows))

    def user(self, kind: Kind, body: int, rider: int | None = None) -> PaintedUser:
        return PaintedUser(kind, self.canvas.extent(body), None if rider is None else self.canvas.extent(rider))


def labels_of(users: list[PaintedUser], protocol: str) -> list[tuple[str, tuple[float, ...], int]]:
    return [(one.class_name, one.box_xywh, one.area) for one in annotate(users, protocol)]


def test_a_vehicle_half_hidden_is_its_visible_part_or_its_full_extent() -> None:
    scene = Rectangles((80, 100))
    truck = scene.paint((10, 49), (20, 49))
    car = scene.paint((30, 119), (15, 59))  # reaches 20 columns beyond the border; hides 20 x 30 pixels of the truck
    users = [scene.user(Kind.TRUCK, truck), scene.user(Kind.CAR, car)]
    visible = [("truck", (10, 20, 20, 30), 600), ("car", (30, 15, 70, 45), 3150)]
    assert labels_of(users, "city") == visible
    assert labels_of(users, "nu") == [("truck", (10, 20, 40, 30), 1200), ("car", (30, 15, 70, 45), 3150)]
    assert labels_of(users, "way") == [("vehicle", *label[1:]) for label in visible]


@pytest.mark.parametrize(("kind", "way_class"), [(Kind.BICYCLE, "cyclist"), (Kind.MOTORCYCLE, "vehicle")])
def test_a_rider_is_a_box_of_its_own_or_part_of_the_two_wheeler(kind: Kind, way_class: str) -> None:
    scene = Rectangles((80, 100))
    body = scene.paint((20, 39), (40, 59))
    rider = scene.paint((25, 34), (20, 49))  # 300 pixels, of which 10 x 10 in front of the two-wheeler's 400
    users = [scene.user(kind, body, rider)]
    assert labels_of(users, "city") == [(kind.value, (20, 40, 20, 20), 300), ("rider", (25, 20, 10, 30), 300)]
    assert labels_of(users, "nu") == [(kind.value, (20, 20, 20, 40), 600)]
    assert labels_of(users, "way") == [(way_class, (20, 20, 20, 40), 600)]


def test_a_parked_bicycle_is_unlabelled_in_way_only_and_a_parked_motorcycle_is_a_vehicle() -> None:
    scene = Rectangles((80, 100))
    bicycle, motorcycle = scene.paint((0, 9), (0, 9)), scene.paint((20, 29), (0, 9))
    users = [scene.user(Kind.BICYCLE, bicycle), scene.user(Kind.MOTORCYCLE, motorcycle)]
    for protocol in ("city", "nu"):
        assert [label[0] for label in labels_of(users, protocol)] == ["bicycle", "motorcycle"]
    assert labels_of(users, "way") == [("vehicle", (20, 0, 10, 10), 100)]


@pytest.mark.parametrize("kind", [Kind.BICYCLE, Kind.MOTORCYCLE])
def test_in_bdd_a_box_ends_at_the_index_of_its_last_pixel_and_a_riders_takes_in_the_two_wheeler(kind: Kind) -> None:
    scene = Rectangles((80, 100))
    body = scene.paint((20, 39), (40, 59))
    rider = scene.paint((25, 34), (20, 49))
    parked, adult = scene.paint((60, 69), (0, 9)), scene.paint((80, 80), (0, 29))
    users = [scene.user(kind, body, rider), scene.user(kind, parked), scene.user(Kind.ADULT, adult)]
    assert labels_of(users, "bdd") == [
        (kind.value, (20, 40, 19, 19), 300),  # columns 20..39, rows 40..59
        ("rider", (20, 20, 19, 39), 600),
        (kind.value, (60, 0, 9, 9), 100),
        ("pedestrian", (80, 0, 1, 29), 30),  # one column stays one pixel wide
    ]
    scene.canvas.paint_clutter(*scene.patch((0, 99), (25, 79)))  # leaves 5 rows of the rider's ten columns
    assert labels_of([scene.user(kind, body, rider)], "bdd") == [("rider", (25, 20, 9, 4), 50)]


def test_bdd_labels_what_city_labels(painted: list[PaintedUser]) -> None:
    names = {"person": "pedestrian"}
    city, bdd = (annotate(painted, protocol) for protocol in ("city", "bdd"))
    assert [names.get(one.class_name, one.class_name) for one in city] == [one.class_name for one in bdd]
    for of_city, of_bdd in zip(city, bdd, strict=True):
        x, y, width, height = of_city.box_xywh
        if of_city.class_name != "rider":
            assert of_bdd.box_xywh == (x, y, max(width - 1, 1), max(height - 1, 1))


def test_under_a_fifth_visible_is_unlabelled_in_nu_and_under_24_pixels_everywhere() -> None:
    scene = Rectangles((80, 100))
    child = scene.paint((10, 29), (20, 59))  # 3 of 20 columns stay visible: 120 pixels, 15 %
    adult = scene.paint((10, 29), (62, 66))  # 4 of 20 columns stay visible: 20 pixels, 20 %
    scene.canvas.paint_clutter(*scene.patch((13, 40), (10, 60)))
    scene.canvas.paint_clutter(*scene.patch((14, 40), (61, 70)))
    users = [scene.user(Kind.CHILD, child), scene.user(Kind.ADULT, adult)]
    assert labels_of(users, "city") == [("person", (10, 20, 3, 40), 120)]
    assert labels_of(users, "way") == [("pedestrian", (10, 20, 3, 40), 120)]
    assert labels_of(users, "nu") == []
    exactly = Rectangles((80, 100))
    child = exactly.paint((10, 29), (20, 59))
    exactly.canvas.paint_clutter(*exactly.patch((14, 40), (10, 60)))  # 4 of 20 columns: a fifth
    assert labels_of([exactly.user(Kind.CHILD, child)], "nu") == [("child", (10, 20, 20, 40), 800)]


def test_facing_left_mirrors_a_shape_about_its_ground_point() -> None:
    patches = body_patches(Kind.TRUCK, False, np.random.default_rng(0))
    masks = []
    for faces_left in (False, True):
        canvas = Canvas(np.zeros((80, 120, 3), dtype=np.uint8))
        masks.append(canvas.extent(canvas.paint(patches, Placement(60.0, 70.0, 20.0, faces_left))).full)
    assert (masks[0] == masks[1][:, ::-1]).mean() > 0.99  # all but the rounding of edges between pixels
    assert not np.array_equal(*masks)


def test_visible_pixels_are_full_pixels_and_nobody_shares_one(painted: list[PaintedUser]) -> None:
    assert any(user.whole.visible_share < 0.2 for user in painted)
    assert any(user.whole.visible_share == 1.0 for user in painted)
    for user in painted:
        assert not (user.whole.visible & ~user.whole.full).any()
        if user.rider is not None:
            assert not (user.body.visible & user.rider.visible).any()


def inside(inner: tuple[float, ...], outer: tuple[float, ...]) -> bool:
    ix, iy, iw, ih = inner
    ox, oy, ow, oh = outer
    return ox <= ix and oy <= iy and ix + iw <= ox + ow and iy + ih <= oy + oh


def test_protocols_agree_about_each_drawn_road_user(painted: list[PaintedUser]) -> None:
    for user in painted:
        city, nu, way = (annotate([user], protocol) for protocol in ("city", "nu", "way"))
        if user.kind is Kind.BICYCLE and user.rider is None:
            assert not way
            assert len(nu) <= len(city)
            continue
        # Whatever nu labels, way labels: a cyclist for each ridden bicycle, with the visible part of the same extent.
        assert len(nu) == (len(way) == 1 and user.whole.visible_share >= 0.2)
        assert all(inside(way[0].box_xywh, one.box_xywh) for one in nu)
        assert all(inside(one.box_xywh, way[0].box_xywh) for one in city)
        assert len(city) <= 1 + (user.rider is not None)


def test_cyclists_of_way_are_the_ridden_bicycles_of_nu_and_the_hidden_ones(painted: list[PaintedUser]) -> None:
    ridden = [user for user in painted if user.kind is Kind.BICYCLE and user.rider is not None]
    labelled = [user for user in ridden if annotate([user], "nu")]
    hidden = [user for user in ridden if user.whole.visible_share < 0.2 and user.whole.visible.sum() >= 24]
    assert len(labelled) > 10
    assert sum(one.class_name == "cyclist" for one in annotate(painted, "way")) == len(labelled) + len(hidden)


def test_every_kind_stands_in_the_streets_parked_and_ridden() -> None:
    for difficulty in DIFFICULTIES.values():
        scenes = [arrange_scene(np.random.default_rng(seed), difficulty) for seed in range(60)]
        assert all(3 <= len(scene) <= 9 for scene in scenes)
        for scene in scenes:
            grounds = [user.placement.y_ground for user in scene]
            assert grounds == sorted(grounds)
        seen = {(user.kind, user.ridden) for scene in scenes for user in scene}
        assert seen == {(kind, False) for kind in Kind} | {(Kind.BICYCLE, True), (Kind.MOTORCYCLE, True)}
        assert any(user.looks_alike for scene in scenes for user in scene) == (difficulty.look_alikes > 0)


@pytest.mark.parametrize(("one", "other"), [(Kind.TRUCK, Kind.BUS), (Kind.BICYCLE, Kind.MOTORCYCLE)])
def test_look_alikes_are_one_picture_and_others_are_not(one: Kind, other: Kind) -> None:
    def picture(kind: Kind, looks_alike: bool) -> np.ndarray:
        canvas = Canvas(np.zeros((80, 120, 3), dtype=np.uint8))
        patches = body_patches(kind, looks_alike, np.random.default_rng(0))
        canvas.paint(patches, Placement(60.0, 70.0, 20.0, faces_left=False))
        return canvas.image

    assert np.array_equal(picture(one, True), picture(other, True))
    assert not np.array_equal(picture(one, False), picture(other, False))


def test_files_are_coco_in_each_space_with_equal_images(drawn: Path) -> None:
    height, width = IMAGE_SIZE_HW
    for dataset in DEFAULT_DATASETS:
        folder = drawn / dataset
        truths = {f"truth.{other}.json": other for other in DEFAULT_DATASETS if other != dataset}
        assert {path.name for path in folder.iterdir()} == {"images", "train.json", "val.json", "test.json", *truths}
        train, val, test = (read_json(folder / f"{split}.json") for split in ("train", "val", "test"))
        images = {"val.json": val["images"], "test.json": test["images"]}
        for name, space in ({"train.json": dataset, "val.json": dataset, "test.json": dataset} | truths).items():
            content = read_json(folder / name)
            assert content["images"] == images.get(name, train["images"])
            assert content["categories"] == SPACES[space].categories()
            check_annotations(content, width, height)
        every = train["images"] + val["images"] + test["images"]
        files = [image["file_name"] for image in every]
        assert len(train["images"]) == 3
        assert len(val["images"]) == len(test["images"]) == 2
        assert sorted(path.name for path in (folder / "images").iterdir()) == sorted(files)
        assert len({image["id"] for image in every}) == 7
        assert all(cv2.imread(str(folder / "images" / file)).shape == (height, width, 3) for file in files)


def check_annotations(content: dict, width: int, height: int) -> None:
    images, categories = ({one["id"] for one in content[key]} for key in ("images", "categories"))
    annotations = content["annotations"]
    assert [one["id"] for one in annotations] == list(range(1, len(annotations) + 1))
    assert annotations
    for one in annotations:
        x, y, w, h = one["bbox"]
        assert one["image_id"] in images
        assert one["category_id"] in categories
        assert 0 <= x < x + w <= width
        assert 0 <= y < y + h <= height
        assert 24 <= one["area"] <= w * h
        assert one["iscrowd"] == 0


def test_category_ids_have_gaps_and_an_order_of_their_own() -> None:
    for space in SPACES.values():
        ids = space.category_ids
        assert set(ids) != set(range(1, len(ids) + 1))
        assert min(ids) > 0
    assert SPACES["city"].to_index(np.array([26]))[0] != SPACES["nu"].to_index(np.array([17]))[0]  # `car` in both


def test_same_arguments_same_bytes_and_another_seed_or_dataset_another_street(drawn: Path, tmp_path: Path) -> None:
    before = bytes_of(drawn)
    draw_street_scenes(drawn, SceneSettings(train_images=TINY, val_images=2, annotators="exact"))
    assert bytes_of(drawn) == before
    draw_street_scenes(tmp_path / "other", SceneSettings(seed=1, train_images=TINY, val_images=2, annotators="exact"))
    after = bytes_of(tmp_path / "other")
    assert set(after) == set(before)
    pictures = [content for files in (before, after) for name, content in files.items() if name.endswith(".png")]
    assert len(set(pictures)) == 2 * 3 * 7


def test_an_image_does_not_depend_on_how_many_are_drawn(drawn: Path, tmp_path: Path) -> None:
    draw_street_scenes(tmp_path / "fewer", SceneSettings(train_images={"nu": 1}, val_images=1, annotators="exact"))
    few, many = bytes_of(tmp_path / "fewer" / "nu" / "images"), bytes_of(drawn / "nu" / "images")
    assert len(few) == 3
    assert all(many[name] == content for name, content in few.items())


def test_the_default_images_do_not_depend_on_the_fourth_dataset(drawn: Path, tmp_path: Path) -> None:
    draw_street_scenes(tmp_path / "four", SceneSettings(train_images={**TINY, "bdd": 3}, val_images=2, annotators="exact"))
    four, default = bytes_of(tmp_path / "four"), bytes_of(drawn)
    assert {name for name in default if four[name] != default[name]} == {"street_scenes.json"}
    new = {name for name in four if name not in default}
    assert {name for name in new if not name.startswith("bdd/")} == {f"{name}/truth.bdd.json" for name in DEFAULT_DATASETS}
    assert {
        "bdd/train.json",
        "bdd/val.json",
        "bdd/test.json",
        "bdd/truth.city.json",
        "bdd/truth.nu.json",
        "bdd/truth.way.json",
    } <= new
    truth, own = read_json(tmp_path / "four" / "nu" / "truth.bdd.json"), read_json(tmp_path / "four" / "bdd" / "train.json")
    assert truth["categories"] == own["categories"] == SPACES["bdd"].categories()
    assert truth["images"] == read_json(tmp_path / "four" / "nu" / "train.json")["images"]


def test_the_first_default_images_have_the_bytes_they_always_had(drawn: Path) -> None:
    content = b"".join((drawn / name / "train.json").read_bytes() for name in DEFAULT_DATASETS)
    assert hashlib.sha256(content).hexdigest() == "da1ca4536e96d87cc2334a1316535bbeb1d3879297dffb7f047fa5f23ff53d0b"


@pytest.mark.parametrize("file", ["train.json", "val.json", "test.json"])
def test_a_drawn_image_can_be_painted_again_with_all_its_road_users(drawn: Path, file: str) -> None:
    content = read_json(drawn / "nu" / file)
    for entry in content["images"]:
        image, users = paint_image("nu", entry["id"], "easy", 0)
        assert np.array_equal(cv2.imread(str(drawn / "nu" / "images" / entry["file_name"]))[:, :, ::-1], image)
        boxes = [tuple(one["bbox"]) for one in content["annotations"] if one["image_id"] == entry["id"]]
        assert [one.box_xywh for one in annotate(users, "nu")] == boxes


def test_a_folder_with_other_content_is_refused_and_left_alone(drawn: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="is not empty and contains no street scenes"):
        draw_street_scenes(tmp_path, SceneSettings(train_images=TINY))
    assert bytes_of(tmp_path) == {"notes.txt": b"mine"}
    with pytest.raises(InputError, match="drawn with other settings"):
        draw_street_scenes(drawn, SceneSettings(seed=7, train_images=TINY, val_images=2, annotators="exact"))
    with pytest.raises(InputError, match="is not a folder"):
        draw_street_scenes(tmp_path / "notes.txt", SceneSettings(train_images=TINY))


@pytest.mark.parametrize(
    "arguments",
    [
        {"difficulty": "medium"},
        {"seed": -1},
        {"train_images": {"town": 3}},
        {"train_images": {"city": 0}},
        {"val_images": 0},
        {"annotators": "perfect"},
    ],
)
def test_arguments_out_of_range_are_refused(arguments: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="choose"):
        draw_street_scenes(tmp_path / "out", SceneSettings(**arguments))
    assert not (tmp_path / "out").exists()

"""What was used last is kept, and no more than fits."""

from __future__ import annotations

from lat.labels.store.recent import Recent


def test_the_longest_unused_go_first() -> None:
    kept: Recent[str] = Recent(10)
    for name in ("a", "b"):
        kept.put(name, name.upper(), 4)
    assert kept.get("a") == "A"
    kept.put("c", "C", 4)  # 12 bytes: b, which was used before a, goes
    assert [kept.get(name) for name in "abc"] == ["A", None, "C"]
    kept.put("d", "D", 11)
    assert [kept.get(name) for name in "acd"] == ["A", "C", None]
    kept.put("a", "new", 10)
    assert [kept.get(name) for name in "ac"] == ["new", None]

"""The order in which values leave a full tier, against the obvious slow way of finding it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memories.tiers.eviction import EvictionOrder

KEYS = st.sampled_from("abcdefgh")
PRIORITIES = st.sampled_from([-1.0, 0.0, 0.5, 2.0])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), KEYS, PRIORITIES),
        st.tuples(st.just("touch"), KEYS, st.none()),
        st.tuples(st.just("discard"), KEYS, st.none()),
        st.tuples(st.just("plan"), st.integers(1, 40), PRIORITIES),
    ),
    max_size=60,
)


@given(STEPS)
def test_the_order_is_that_of_a_sorted_list(steps: list[tuple[str, object, object]]) -> None:
    order = EvictionOrder()
    model: dict[str, tuple[float, int]] = {}
    size_of = {key: 1 + number for number, key in enumerate("abcdefgh")}
    for now, (step, argument, priority) in enumerate(steps):
        if step == "add":
            order.add(argument, priority)  # type: ignore[arg-type]
            model[argument] = (priority, now)  # type: ignore[assignment,index]
        elif step == "touch":
            order.touch(argument)  # type: ignore[arg-type]
            if argument in model:
                model[argument] = (model[argument][0], now)  # type: ignore[index]
        elif step == "discard":
            order.discard(argument)  # type: ignore[arg-type]
            model.pop(argument, None)  # type: ignore[call-overload]
        else:
            expected: list[str] | None = []
            need = argument
            for key in sorted(model, key=lambda key: model[key]):
                if need <= 0 or key == "a" or model[key][0] > priority:  # type: ignore[operator]
                    continue
                expected.append(key)  # type: ignore[union-attr]
                need -= size_of[key]  # type: ignore[operator]
            if need > 0:  # type: ignore[operator]
                expected = None
            assert order.plan(argument, priority, size_of.__getitem__, exclude={"a"}) == expected  # type: ignore[arg-type]


def test_clear() -> None:
    order = EvictionOrder()
    order.add("a", 0)
    order.clear()
    assert order.plan(1, 9, lambda key: 1) is None
    order.add("b", 0)
    assert order.plan(1, 9, lambda key: 1) == ["b"]
